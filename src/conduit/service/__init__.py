"""What the server knows and does, over the database."""
