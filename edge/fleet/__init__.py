"""The way to a board: SSH, and what is done over it. Nothing here decides what a board should run."""
