"""One branch a file; the file's name is the branch's name."""
