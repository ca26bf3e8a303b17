"""What a plugin declares, and what makes one broken. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import attrs

GROUP = "gancore"
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@attrs.frozen
class Declared:
    """A component with who declared it.

    Attributes:
        kind: One of `gancore.contract.hooks.KINDS`.
        name: Bare name.
        plugin: Name of the plugin.
        target: ``module:attribute``.
        summary: One line.
        cite: The paper.
        distribution: Name of the distribution.
        version: Its version.
    """

    kind: str
    name: str
    plugin: str
    target: str
    summary: str
    cite: str
    distribution: str
    version: str

    @property
    def full_name(self) -> str:
        """``plugin/name``."""
        return f"{self.plugin}/{self.name}"


@attrs.define
class Plugin:
    """An installed plugin.

    Attributes:
        name: Name of its entry point.
        distribution: Who brought it.
        version: The distribution's version.
        module: Module that declares.
        components: What it declares, by kind.
        recipes: Folders of recipes.
        problem: Why it can't be used, or None.
        warnings: What is not as it should be, but harmless.
    """

    name: str
    distribution: str
    version: str
    module: str
    components: dict[str, list[Declared]] = attrs.field(factory=dict)
    recipes: list[Path] = attrs.field(factory=list)
    problem: str | None = None
    warnings: list[str] = attrs.field(factory=list)


def _same(module: ModuleType) -> ModuleType:
    return module


class Broken(Exception):  # noqa: N818 - turned into a plugin's problem
    """Why a plugin is broken."""


def said(error: BaseException) -> str:
    """Return an error's class and text in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
