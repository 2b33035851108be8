"""Matrix as a pure library: no I/O, clock or randomness; everything is a function of its arguments."""
