"""``python -m hpi`` is the ``hpi`` command."""

from hpi.cli import main

if __name__ == "__main__":
    main()
