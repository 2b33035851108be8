"""The configuration: schema, loading, the example file."""
