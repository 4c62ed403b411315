"""The command line: arguments, messages, progress and exit codes."""
