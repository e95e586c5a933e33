"""Calibration and held-out data: from where the user has them to arrays of the model's inputs.

source     what was given: a file, a folder or a function, and how it becomes inputs
read       the door: the data of a source for a model's inputs
data       what comes of it, checked against the model
arrays     .npz and .npy
folders    pictures and sounds, in folders of classes or with a table of labels
tables     CSV and Parquet
functions  the user's own code
classes    from names to numbers
memory     what this machine can hold
"""
