"""The board's own eyes: a watched folder or a camera, to a model, to the fleet. Imported where it is asked for."""
