"""``python -m recvec``: the command line."""

from recvec.cli.main import main

if __name__ == "__main__":
    main()
