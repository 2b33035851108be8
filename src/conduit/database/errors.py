"""What can go wrong below the services. Absence is never an error: it is `None`."""

from __future__ import annotations


class DatabaseError(Exception):
    """Base of all errors of the database floor."""


class Corrupt(DatabaseError):
    """A stored key or value does not have the form that its tree declares."""

    def __init__(self, tree: str, key: bytes, why: str) -> None:
        super().__init__(f"tree {tree}, key {key[:80]!r}: {why}")
        self.tree = tree
        self.key = key


class EngineFault(DatabaseError):
    """The engine could not read, write or sync. Nothing is retried: the process must end."""


class CannotOpen(DatabaseError):
    """The directory cannot be opened as a database; the message is for the operator, and nothing was changed."""


class Locked(CannotOpen):
    """Another process has the directory open."""


class TooNew(CannotOpen):
    """A newer version of this server, or of Conduit, has written the directory."""


class Foreign(CannotOpen):
    """The directory holds a database of the other backend, of another server name, or something else altogether."""


class Damaged(CannotOpen):
    """The files are not whole; only a backup helps."""


class DiskFull(DatabaseError):
    """The disk has too little room left: the batch was refused before anything was written. Later ones may pass again."""


class KeyTooLong(DatabaseError):
    """A key exceeds `MAX_KEY_BYTES`; the door should have refused its parts."""
