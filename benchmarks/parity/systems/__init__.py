"""One file a system; its `kind_of` knows its golden files."""
