"""What the commands show in a terminal: messages, a bar, tables, and a training run as it goes."""
