"""`python -m train`."""

import sys


def main() -> None:
    """Train, tune, or keep a network: a study hands the options of the training on."""
    if sys.argv[1:2] == ["tune"]:
        from train.tune.cli import main as tune

        tune(sys.argv[2:])
    if sys.argv[1:2] and sys.argv[1] in ("card", "restore"):
        from train.card import main as keep

        keep()
    from train.cli import main as train

    train()


if __name__ == "__main__":
    main()
