"""The admin room: administrators write to @conduit there, and it answers."""
