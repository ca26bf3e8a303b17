"""Runs the notebook of the documentation as Jupyter does; ``python -m tests.compose.notebook`` writes its outputs anew.

A cell's last expression is shown by what it says of itself (`_repr_html_`, `_repr_png_`, `repr`), so that no Jupyter is needed.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import linecache
import os
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"


def cells(path: Path = NOTEBOOK) -> list[dict[str, Any]]:
    """Return the cells of code."""
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def shown(value: object) -> dict[str, Any]:
    """Return what Jupyter shows of a value, by its kind."""
    data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    page, picture = (getattr(value, name, lambda: None)() for name in ("_repr_html_", "_repr_png_"))
    if page is not None:
        data["text/html"] = page.splitlines(keepends=True)
    elif picture is not None:
        data["image/png"] = base64.b64encode(picture).decode()
    return data


def executed(path: Path = NOTEBOOK) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]]:
    """Run the cells in turn, and yield each with its outputs and the notebook's names."""
    module = types.ModuleType("__main__")
    before, sys.modules["__main__"] = sys.modules["__main__"], module
    try:
        for number, cell in enumerate(cells(path), start=1):
            source = "".join(cell["source"])
            name = f"<cell {number}>"
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            body = ast.parse(source, name).body
            last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(ast.Module(body, []), name, "exec"), module.__dict__)
                value = None if last is None else eval(compile(ast.Expression(last.value), name, "eval"), module.__dict__)  # type: ignore[attr-defined]
            outputs: list[dict[str, Any]] = []
            if printed.getvalue():
                outputs.append(
                    {"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(keepends=True)}
                )
            if value is not None:
                shape = {"output_type": "execute_result", "execution_count": number, "metadata": {}}
                outputs.append({**shape, "data": shown(value)})
            yield cell, outputs, module.__dict__
    finally:
        sys.modules["__main__"] = before


def write(path: Path = NOTEBOOK) -> None:
    """Run the notebook in a new folder, and write it with its outputs."""
    table = json.loads(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        outputs = [shown for _, shown, _ in executed(path)]
    numbers = iter(range(len(outputs)))
    for cell in table["cells"]:
        if cell["cell_type"] == "code":
            number = next(numbers)
            cell["outputs"], cell["execution_count"] = outputs[number], number + 1
    path.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    write()
