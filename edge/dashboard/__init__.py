"""Screens of the fleet: what the store knows, as rows and pages, live in the terminal or as lines.

The rule: a screen reads and shows, and never changes anything. What it says of a board is a pure function of
`edge.telemetry.records.BoardNow`, the same on the screen, in lines and as JSON.
"""
