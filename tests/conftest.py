"""Fixtures that all tests share: where the parity vectors and the image sets lie."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PARITY = Path(os.environ.get("GANCORE_PARITY", ROOT.parent / "shared" / "parity"))

PROJECTS = {path.parent.name: tomllib.loads(path.read_text())["project"] for path in ROOT.glob("plugins/*/pyproject.toml")}
PLUGINS = sorted(name for name, project in PROJECTS.items() if "entry-points" in project)
"""This repository's distributions that register a plugin; the suite that core's tests use too registers none."""


class Left(pytest.Directory):
    """A folder of tests that is skipped whole."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip("combinations of plugins are tested where all plugins of this repository are installed")


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Skip the tests of combinations where a plugin is missing; core's own need none."""
    if path not in (ROOT / "tests" / "compose", ROOT / "tests" / "journeys") or all(
        find_spec(f"gancore_{name}") for name in PLUGINS
    ):
        return None
    return Left.from_parent(parent, path=path)


@pytest.fixture
def parity() -> Callable[[str], dict[str, Any]]:
    """Load a file of parity vectors by name, or skip where they are not at hand."""

    def load(name: str) -> dict[str, Any]:
        path = PARITY / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"parity vectors are not at hand: set GANCORE_PARITY to the folder that holds {path.name}")
        with np.load(path) as arrays:
            return dict(arrays)

    return load


@pytest.fixture
def data_root() -> Path:
    """The folder of image sets that GANCORE_DATA names, or skip."""
    root = os.environ.get("GANCORE_DATA")
    if not root:
        pytest.skip("GANCORE_DATA is not set: it names the folder that holds cifar10/, mnist/, fashion-mnist/")
    return Path(root)
