"""What host and board agree on.

The rule of this package: standard library only, no input or output, no clock, no randomness. Everything here
is a value or a pure function over values, so that host and board can never disagree by circumstance.
An agent speaks contract `CONTRACT` and the one before it.
"""

CONTRACT = 1
OLDEST_CONTRACT = 1
