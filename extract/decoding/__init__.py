"""Decode workers and what they say; a video itself is `extract.decoding.video`."""
