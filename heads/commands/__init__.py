"""What `telltale` does, one file a command."""
