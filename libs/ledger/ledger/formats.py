"""Tables of the products' contents, made from their declarations."""

from dataclasses import fields

from ledger.product import REGISTRY, Product


def describe(product: type[Product]) -> str:
    """Markdown section for one product."""
    lines = [f"## `{product.product}` (schema {product.schema})", ""]
    lines += [(product.__doc__ or "").split("Attributes:")[0].strip().replace("\n    ", "\n"), ""]
    rows = []
    for item in fields(product):
        meta = item.metadata
        if not meta:
            continue
        if "axes" not in meta:
            rows.append((f"attribute `{item.name}`", "", "", meta["unit"], meta["about"]))
        else:
            name = f"`{item.name}/*`" if meta.get("group") else f"`{item.name}`"
            kind = meta.get("dtype", "float64")
            rows.append((name, ", ".join(meta["axes"]), kind, meta["unit"], meta["about"]))
    if rows:
        lines += ["| where | axes | type | unit | what |", "|---|---|---|---|---|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def describe_all() -> str:
    """Markdown sections for all products, in order of their names."""
    return "\n".join(describe(REGISTRY[name]) for name in sorted(REGISTRY))
