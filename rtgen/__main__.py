"""`python -m rtgen`."""

from rtgen.cli import main

if __name__ == "__main__":
    main()
