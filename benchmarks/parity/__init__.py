"""Our numbers against the released codes': `python -m benchmarks.parity GOLDEN_DIR`.

Reads every golden file in a folder and in the folders in it (ours or anyone's of that format: other
seeds, other sizes), recomputes what this version can, and prints one JSON object: per quantity the
largest absolute and relative difference and the tolerance, and the files that it does not know.
Exits 1 when a tolerance is exceeded, 2 when nothing was found. A system is one file in `systems/`;
it has a function `kind_of` that knows its own golden files.
"""
