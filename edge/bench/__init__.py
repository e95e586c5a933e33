"""Load tests: windows of load, rounds of them, comparisons, the search for the knee, and pictures."""
