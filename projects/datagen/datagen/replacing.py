"""Folders that a verb replaces as a whole."""

from pathlib import Path

from ledger import Product, ProductError
from ledger.product import product_name


def refuse_to_destroy(output: Path, name: str, product: type[Product]) -> None:
    """Stop if a folder that is about to be replaced is anything but an older one of its kind.

    Args:
        output: The folder.
        name: File by which the kind is known.
        product: What that file holds.

    Raises:
        ValueError: The folder exists, is not empty, and holds something else.
    """
    if not output.exists():
        return
    try:
        ours = not any(output.iterdir()) or product_name(output / name) == product.product
    except (FileNotFoundError, NotADirectoryError, ProductError):
        ours = False
    if not ours:
        raise ValueError(
            f"{output} exists and holds no {product.product}: it would be replaced as a whole; "
            "remove it or name another folder"
        )
