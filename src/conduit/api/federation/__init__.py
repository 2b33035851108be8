"""The server-server API: one file for each heading of the specification."""
