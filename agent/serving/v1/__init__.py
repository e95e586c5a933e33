"""TensorFlow Serving's REST interface, version 1, and KServe's at the same paths."""
