"""The commands between corpora and the codes that language models read."""
