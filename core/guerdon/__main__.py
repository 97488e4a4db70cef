"""Run the command line as ``python -m guerdon``, for environments without the console script."""

from guerdon.cli.main import main

if __name__ == "__main__":
    main()
