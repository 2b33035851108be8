"""A Matrix homeserver that a person can own."""
