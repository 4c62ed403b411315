"""`python -m tests.fuzz NAME --seconds 60`, from the root of the project."""

from .runner import main

main()
