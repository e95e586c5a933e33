"""Simulated boards: real SSH servers on loopback on which the real flash installs the real agent.

They say that they are simulated wherever one could take them for hardware: in the login banner, in their facts, in
their model's name.
"""
