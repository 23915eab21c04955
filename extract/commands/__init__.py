"""What `telltale` does with videos."""
