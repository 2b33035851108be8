"""Ordered trees over an embedded engine: batches, durability, caches, wake-ups."""
