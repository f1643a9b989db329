"""Models written in Python for Triton's backend of that name."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from hermes.errors import RepositoryError


def read(source: str | os.PathLike[str]) -> str:
    """Text of a model.

    Args:
        source: The text, or the path of a file.

    Raises:
        RepositoryError: There is no such file, or it is no model.
    """
    if isinstance(source, str) and "\n" in source:
        text, name = source, "model.py"
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        try:
            text = Path(source).read_text()
        except OSError as error:
            raise RepositoryError(f"cannot read {name}: {error}") from None
    else:
        raise RepositoryError(
            f"cannot export a {type(source).__name__} as PYTHON: give the path or text of a "
            "model.py"
        )
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise RepositoryError(f"{name}, line {error.lineno}: {error.msg}") from None
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    model = next((node for node in classes if node.name == "TritonPythonModel"), None)
    if model is None:
        raise RepositoryError(f"{name} has no class TritonPythonModel, which the server looks for")
    methods = [node.name for node in model.body if isinstance(node, ast.FunctionDef)]
    if "execute" not in methods and not model.bases:
        raise RepositoryError(f"{name}: TritonPythonModel has no method execute")
    return text
