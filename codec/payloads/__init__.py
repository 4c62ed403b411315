"""Codes of packets <-> payload bytes: plainly packed, or coded by what a context model expects."""
