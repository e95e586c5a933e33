"""Environments of their own for frameworks that can't live in the host's.

`pins.py` reads what goes into each (`NAME.toml` beside it), `environment.py` makes, lists and removes them.
"""
