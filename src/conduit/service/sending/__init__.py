"""What leaves this server: the outgoing queues."""
