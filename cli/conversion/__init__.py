"""Conversion of files: from the places on the command line to files, done by one process or several, with progress."""
