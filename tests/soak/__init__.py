"""Many rounds of runs that overlap and are killed; `make soak`."""
