"""Keys of devices and users, their backups, and messages between devices."""
