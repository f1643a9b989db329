"""`python -m train`."""

import sys


def main() -> None:
    """Train, or tune: a study reads its options itself, and hands the training's on."""
    if sys.argv[1:2] == ["tune"]:
        from train.tune.cli import main as tune

        tune(sys.argv[2:])
    from train.cli import main as train

    train()


if __name__ == "__main__":
    main()
