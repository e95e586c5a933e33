"""Servers that others made, with the same models, and environments of their own to run them in."""
