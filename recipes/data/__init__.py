"""Recordings on their way to a batch: which there are, how they are prepared and packed, and how they are read."""
