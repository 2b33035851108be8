"""Benchmarks: this server and a peer, on the same machine, in the same run, driven alike through the public API."""
