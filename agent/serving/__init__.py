"""The agent's HTTP side: one port, and on it the protocols that clients already speak.

The rule: nothing here is imported from numpy before the first model is loaded, so that `/v2/health/live` answers at
once; no answer tells a path of the board; whatever a client sends costs it an error, and nobody else anything.
"""
