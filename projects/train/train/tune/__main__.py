"""`python -m train.tune`."""

from train.tune.cli import main

if __name__ == "__main__":
    main()
