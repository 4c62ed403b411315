"""The real codecs over whole files: the run, its records, what they say, and the report."""
