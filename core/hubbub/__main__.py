"""`python -m hubbub` is `hubbub`."""

from .cli import main

if __name__ == "__main__":
    main()
