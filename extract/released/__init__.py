"""Checkpoints of released code, taken apart."""
