"""`ledger ls FILE`, `ledger check DIR` and `ledger formats`."""

import argparse
import sys
from pathlib import Path

from ledger.checking import check_folder
from ledger.files import ProductError
from ledger.formats import describe_all
from ledger.listing import listing


def main(argv: list[str] | None = None) -> int:
    """Entry point of the `ledger` command."""
    parser = argparse.ArgumentParser(prog="ledger", description="Look into data products.")
    commands = parser.add_subparsers(dest="command", required=True)
    ls = commands.add_parser("ls", help="print what a product says about itself")
    ls.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check = commands.add_parser("check", help="validate all products of a folder")
    check.add_argument("folder", type=Path, metavar="DIR")
    commands.add_parser("formats", help="print the contents of every product as Markdown")
    args = parser.parse_args(argv)
    try:
        if args.command == "formats":
            text = describe_all()
        elif args.command == "check":
            report = check_folder(args.folder)
            sys.stdout.write("\n".join(report.lines) + "\n")
            return 1 if report.num_bad else 0
        else:
            text = "\n".join(listing(path) for path in args.files)
    except (ProductError, FileNotFoundError) as error:
        sys.stderr.write(f"ledger: {error}\n")
        return 1
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
