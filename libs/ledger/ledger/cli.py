"""`ledger ls FILE` and `ledger formats`."""

import argparse
import sys
from pathlib import Path

import h5py

from ledger.files import ProductError
from ledger.formats import describe_all
from ledger.product import open_product


def listing(path: Path) -> str:
    """Everything that a product says about itself, as text."""
    with open_product(path) as file:
        lines = [f"{path}", f"  product {file.attrs['product']} schema {file.attrs['schema']}"]
        hidden = {"product", "schema", "settings", "parents"}
        lines += [f"  {k}: {v}" for k, v in sorted(file.attrs.items()) if k not in hidden]

        def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                unit = item.attrs.get("unit", "")
                axes = item.attrs.get("axes", "")
                lines.append(f"  /{name} {item.shape} {item.dtype} [{unit}] ({axes})")

        file.visititems(visit)
        for key in ("parents", "settings"):
            lines.append(f"  {key}:")
            lines += [f"    {line}" for line in str(file.attrs[key]).splitlines()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Entry point of the `ledger` command."""
    parser = argparse.ArgumentParser(prog="ledger", description="Look into data products.")
    commands = parser.add_subparsers(dest="command", required=True)
    ls = commands.add_parser("ls", help="print what a product says about itself")
    ls.add_argument("files", nargs="+", type=Path, metavar="FILE")
    commands.add_parser("formats", help="print the contents of every product as Markdown")
    args = parser.parse_args(argv)
    try:
        if args.command == "formats":
            text = describe_all()
        else:
            text = "\n".join(listing(path) for path in args.files)
    except (ProductError, FileNotFoundError) as error:
        sys.stderr.write(f"ledger: {error}\n")
        return 1
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
