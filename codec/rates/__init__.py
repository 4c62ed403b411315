"""Constant bitrates and those that vary: what a user may ask for, and which frame then gets how many stages."""
