"""The agent: what runs on the board."""
