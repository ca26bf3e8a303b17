"""Small recipes of several plugins' components, and the registry that holds all plugins of this repository."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from gancore_training import TrainingRun

from gancore.plan.plan import Plan
from gancore.registry import Registry
from gancore.testing import host
from tests import hosts, probe
from tests.conftest import PLUGINS
from tests.hosts import CPU, FREE, GAME, installed, same, steps

__all__ = ["CBGAN", "CPU", "FREE", "GAME", "installed", "plan_of", "registry", "run_of", "same", "steps"]

CBGAN: dict[str, Any] = {
    "samplers": {"long_tail": {"use": "standard/long-tail", "ratio": 20.0}},
    "networks": {"classifier": {"use": "host/classifier"}},
    "losses": {"balance": {"use": "cbgan/class-balance", "weight": 10.0, "cycle": 3}},
}
"""The class-balancing regularizer, with an untrained classifier."""


@functools.cache
def registry() -> Registry:
    """Return this repository's plugins, the probe plugin and the conformance suite's host."""
    return Registry.of({**{name: import_module(f"gancore_{name}") for name in PLUGINS}, "probe": probe, "host": host})


def plan_of(*tables: dict[str, Any], base: dict[str, Any] | None = None, name: str = "test") -> Plan:
    """Return the plan of the base recipe with tables layered over it."""
    return hosts.plan_of(*tables, base=base, name=name, plugins=registry())


def run_of(*tables: dict[str, Any], base: dict[str, Any] | None = None) -> TrainingRun:
    """Return the run of the base recipe with tables layered over it."""
    return TrainingRun(plan_of(*tables, base=base), CPU)


def trains_and_resumes(build: Callable[[], TrainingRun]) -> None:
    """Ask that two iterations and two more after a resume are four, to the last bit, and that each player has moved."""
    whole, first = steps(build(), 4), steps(build(), 2)
    saved = {key: tensor.detach().clone().contiguous() for key, tensor in first.tensors().items()}
    second = build()
    second.restore(saved, first.counters())
    assert same(whole, steps(second, 2)) == []
    assert all(value.isfinite() for value in whole.losses.values())
    untrained = build()
    for player in whole.players:
        pairs = zip(whole.players[player].parameters, untrained.players[player].parameters, strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs), f"the {player} has not moved"
