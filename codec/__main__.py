"""`python -m vqcodec`: the console script by another name, and the one module here that imports the CLI."""

from vqcodec.cli.main import main

if __name__ == "__main__":
    main()
