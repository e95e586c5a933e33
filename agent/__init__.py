"""The agent: what runs on the board."""

__version__ = "0.1.0+edge"
