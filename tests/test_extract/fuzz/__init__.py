"""Broken clips through the decode workers; see `run`. `make fuzz` breaks many."""
