"""The loop: a run, its step, what it learns from, and what it keeps and tells."""
