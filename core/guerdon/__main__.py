"""``python -m guerdon``: the console script where none is on the path."""

from guerdon.cli.main import main

if __name__ == "__main__":
    main()
