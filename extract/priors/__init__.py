"""What the branches `spatial`, `appearance` and `motion` compute."""
