"""What the exit status of a command means; one list for all of them."""

DONE = 0
NOTHING_DONE = 1
"""It could not begin, or was ended by an error."""
SOME_FAILED = 3
"""Done, and some of the videos cannot be used."""
INTERRUPTED = 130
"""Ended early by ctrl-C or SIGTERM; the same command goes on."""
