"""Detectors side by side: which of them a store can judge, the runs, and what they come to."""
