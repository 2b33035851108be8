"""/sync: what is new for a user, streams read by intervals of the one counter, and the wait for news."""
