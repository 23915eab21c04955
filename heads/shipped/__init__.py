"""Bundles that come with the package: a folder each, named after what it is for."""
