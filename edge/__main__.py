"""`python -m edge` is `edge`."""

from edge.cli.main import main

if __name__ == "__main__":
    main()
