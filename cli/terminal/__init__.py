"""Output of the commands in a terminal: messages, a bar, tables, and a training run as it goes."""
