"""Stage one: videos in, features out."""
