"""A corpus of any size -> codes for language models, part by part, and back to sound."""
