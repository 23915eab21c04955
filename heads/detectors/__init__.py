"""Published detectors and our own as recipes over one cache: one TOML file each."""
