"""What users look up: history, relations, search, rooms in spaces and directories, people."""
