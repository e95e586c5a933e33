"""The one definition of what happens to numbers before and after the engine; host and board use the same.

Needs numpy, and Pillow with the first picture. The host uses it for calibration, evaluation and the golden set, the
agent for requests and for the trial.
"""
