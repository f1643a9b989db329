"""`python -m priors list` and `python -m priors plot`."""

import argparse
import sys
from pathlib import Path

from priors.definitions import NAMES, describe
from priors.populations import load_population


def listing() -> str:
    """The named populations, one line each."""
    rows = [describe(name) for name in NAMES]
    width = max(len(signature) for signature, _, _ in rows)
    return "\n".join(f"{row[0]:<{width}}  {row[1]:<8}  {row[2]}" for row in rows)


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m priors`."""
    parser = argparse.ArgumentParser(prog="python -m priors", description="Look at populations.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the named populations, their frame and what they are")
    plot = commands.add_parser("plot", help="draw a corner plot of a population")
    plot.add_argument("population", help="a name, with arguments if it takes any, or a file")
    plot.add_argument("--redshift-max", type=float, help="largest redshift drawn")
    plot.add_argument("--output", type=Path, required=True, help="image file to write")
    plot.add_argument("--count", type=int, default=5000, help="number of sources")
    plot.add_argument("--seed", type=int, default=0, help="seed of the draws")
    args = parser.parse_args(argv)
    if args.command == "list":
        sys.stdout.write(listing() + "\n")
        return 0
    try:
        # matplotlib is slow to import, and nobody else needs it
        from priors.plot import plot_corner

        population = load_population(args.population, args.redshift_max)
        plot_corner(population, args.output, args.count, args.seed)
    except (ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"priors: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
