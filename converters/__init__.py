"""Model in, artifact and report out."""
