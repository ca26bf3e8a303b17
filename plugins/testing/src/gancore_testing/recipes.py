"""A plugin's recipes, made small: they train, what they train resumes, and two processes train it as one does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import attrs
import pytest
import torch

from gancore.tools import Registry, merge, read
from gancore_testing import checks
from gancore_testing.hosting import Table, build_host, host_registry
from gancore_testing.processes import shared_table
from gancore_testing.tested import Case, modules_named

SMALL: Table = {"run": {"batch_size": 8, "iterations": 10, "precision": "float32"}, "metrics": False}

SHARED = 1
"""Iterations that two processes are compared in: a further one multiplies rounding by as much as networks are deep."""

RATE = 1e-3
"""Of plain descent, small enough for a penalty of weight 10."""


@attrs.frozen
class Small:
    """A recipe that is tried.

    Attributes:
        name: Its full name.
        over: Tables that its author lays over it.
        installed: What it is read with.
    """

    name: str
    over: Table
    installed: Registry

    def table(self) -> Table:
        """Return it with few images at a time, and without metrics and the networks that are trained before it for these.

        What its game needs of those is its author's to give, e.g. ``{"networks": {"classifier": {"use": "host/classifier"}}}``.
        """
        table: Table = dict(read(self.name, self.installed).table)
        first = [label for label, network in table["networks"].items() if network.get("trained_by")]
        small = merge(SMALL, {"networks": {label: False for label in first if label not in self.over.get("networks", {})}})
        return merge(merge(table, small), self.over)

    def modules(self) -> dict[str, ModuleType]:
        """Return the declaring modules of the plugins that it names."""
        return modules_named(self.table(), self.installed)

    def shared_table(self) -> Table:
        """Return it for two processes."""
        shared = shared_table(self.table(), host_registry(self.modules()), iterations=SHARED)
        return merge(shared, {"optimizers": {player: {"lr": RATE} for player in shared["optimizers"]}})

    def cases(self) -> Iterator[Case]:
        """Yield what is asked of it in one process."""
        yield f"{self.name}: every player moves", self.moves
        for title, check in (
            ("resumes bit-exactly", checks.resumes),
            ("computes where the run does", checks.on_another_device),
        ):
            yield f"{self.name}: {title}", partial(self._checked, check)

    def _checked(self, check: Callable[[Table, Registry], None]) -> None:
        check(self.table(), host_registry(self.modules()))

    def moves(self) -> None:
        """Its trainings are finite, and change every player."""
        found = host_registry(self.modules())
        checks.trains(self.table(), found)
        run = build_host(self.table(), found)
        before = {name: [value.detach().clone() for value in player.parameters] for name, player in run.players.items()}
        checks.steps(run, 1)
        for name, player in run.players.items():
            moved = any(not torch.equal(a, b) for a, b in zip(before[name], player.parameters, strict=True))
            assert moved, f"no parameter of the {name} has moved"


def recipes_of(plugin: str, small: Mapping[str, Mapping[str, Any]], installed: Registry) -> Iterator[Small]:
    """Yield the recipes of a plugin that are tried, of those that there are."""
    for name, over in small.items():
        if f"{plugin}/{name}" in installed.recipes():
            yield Small(f"{plugin}/{name}", dict(over), installed)


def missing(plugin: str, small: Mapping[str, Mapping[str, Any]], installed: Registry) -> Iterator[Case]:
    """Yield a case that fails for each name that no recipe of the plugin has."""
    for name in sorted(set(small) - {full.removeprefix(f"{plugin}/") for full in installed.recipes()}):
        yield f"{name}: is a recipe", partial(pytest.fail, f"recipes names {name!r}, which is no recipe of {plugin}")
