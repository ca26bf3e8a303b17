"""What other plugins may import of the standard ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from gancore_standard import tools

PLUGINS = Path(__file__).resolve().parents[2]
OTHERS = sorted(path for path in PLUGINS.glob("*/src/**/*.py") if path.relative_to(PLUGINS).parts[0] != "standard")


@pytest.mark.parametrize("name", tools.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert hasattr(tools, name)


def test_other_plugins_import_public_names_alone() -> None:
    if not OTHERS:
        pytest.skip("there are no other plugins beside this one")
    modules = [
        (path.relative_to(PLUGINS), node.module)
        for path in OTHERS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gancore_standard"
    ]
    assert modules
    assert [(path, module) for path, module in modules if module != "gancore_standard.tools"] == []


def test_declaring_the_components_imports_no_torch() -> None:
    code = (
        "import sys, gancore_standard as s; names = {n for n in dir(s) if n.startswith('gancore_')} - {'gancore_doctor'}; "
        "[list(getattr(s, n)()) for n in names]; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
