"""A small agent for tests of the update process: it serves and measures, without numpy and engines.

It stands in a runtime's layer in the place of `agent.app` and `agent.measure`; everything else in the layer is the
real agent. What it does is written in the model file of the bundle, so that a test's bundle decides how a trial goes.
"""
