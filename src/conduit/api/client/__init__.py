"""The client-server API; one file a heading of the specification."""
