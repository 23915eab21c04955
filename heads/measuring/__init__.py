"""Figures and how sure they are: numbers in, numbers out."""
