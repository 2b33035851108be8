"""Push: rules, unread counts, and the queue of what is to be pushed."""
