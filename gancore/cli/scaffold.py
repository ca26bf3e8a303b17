"""``gancore new-plugin``: a working plugin package with a test, to start from."""

from __future__ import annotations

import re
from pathlib import Path

from gancore.errors import GancoreError
from gancore.files import write_text

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "gancore-plugin-@NAME@"
version = "0.1.0"
description = "@NAME@ for gancore"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["gancore"]

[project.entry-points.gancore]
@NAME@ = "gancore_@MODULE@"

[tool.hatch.build.targets.wheel]
packages = ["src/gancore_@MODULE@"]
""",
    "README.md": """\
# gancore-plugin-@NAME@

What the method does, and its paper.

    pip install -e .
    gancore show @NAME@/feature-gap
    gancore train RECIPE --with @NAME@/feature-gap
    pytest
""",
    "src/gancore_@MODULE@/__init__.py": '''\
"""Declares the components of the plugin; imports no torch."""

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Yield the loss terms."""
    yield gancore.Component("feature-gap", "gancore_@MODULE@.loss:FeatureGap", "Gap of the mean features of D", cite="")


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Yield the folder of recipes."""
    yield Path(__file__).with_name("recipes")
''',
    "src/gancore_@MODULE@/loss.py": '''\
"""An example to change: feature matching."""

from typing import Annotated

from torch import Tensor

import gancore


class FeatureGap(gancore.LossTerm):
    """Squared gap between the discriminator's mean features of real and generated images.

    Args:
        scale: What the gap is multiplied by.
    """

    def __init__(self, *, scale: Annotated[float, gancore.Range(0)] = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def generator(self, *, real_features: Tensor, fake_features: Tensor) -> Tensor:
        """Return the loss of the generator, from features (N, F)."""
        # Squared, it is no mean over images: the gap is that of the batch over all processes.
        gap = gancore.global_mean(real_features.mean(0) - fake_features.mean(0))
        return self.scale * gap.square().mean()
''',
    "src/gancore_@MODULE@/recipes/feature-gap.toml": """\
summary = "Fragment: feature matching, over any recipe"

[losses.feature_gap]
use = "@NAME@/feature-gap"
weight = 1.0
""",
    "tests/test_conformance.py": '''\
"""Everything that gancore asks of a plugin."""

from gancore.testing import conformance

test_conformance = conformance("@NAME@")
''',
}


def write_plugin(name: str, folder: Path) -> Path:
    """Write a plugin package and return its folder.

    Args:
        name: The plugin's name: lower-case letters, digits and dashes.
        folder: Where; it must not exist.

    Raises:
        GancoreError: The name can't be used, or the folder exists.
    """
    if not _NAME.fullmatch(name):
        raise GancoreError(f"{name!r} can't be a plugin's name: use lower-case letters, digits and dashes, e.g. r1.")
    if folder.exists():
        raise GancoreError(f"{folder} exists already; choose another --to.")

    def fill(text: str) -> str:
        return text.replace("@NAME@", name).replace("@MODULE@", name.replace("-", "_"))

    for path, text in FILES.items():
        target = folder / fill(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, fill(text))
    return folder
