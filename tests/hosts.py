"""Small recipes for tests, and the registry that holds the probe plugin."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import gancore.registry
from gancore.engine.run import Run
from gancore.plan.load import make_plan
from gancore.plan.plan import Plan
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from gancore.registry import Registry
from gancore.testing import host
from tests import probe, standin

CPU = torch.device("cpu")

CONDITIONAL = """
[data]
use = "standard/digits"
[networks.generator]
use = "standard/sndcgan-generator"
width = 0.125
conditional = true
[networks.discriminator]
use = "standard/sndcgan-discriminator"
width = 0.125
[heads.adversarial]
use = "standard/projection"
[losses.adversarial]
use = "standard/hinge"
"""
"""The text of a tiny conditional game, to which a recipe's file adds its ``[run]``."""

GAME: dict[str, Any] = {
    "run": {"iterations": 8, "batch_size": 16, "latent_dim": 8, "precision": "float32", "log_every": 2},
    "data": {"use": "standard/digits"},
    "networks": {"generator": {"use": "probe/tiny-generator"}, "discriminator": {"use": "probe/tiny-discriminator"}},
    "heads": {"adversarial": {"use": "standard/linear"}},
    "losses": {"adversarial": {"use": "standard/relativistic"}},
    "ema": {"decay": 0.9},
}
"""A game of tiny networks on the digits: milliseconds an iteration."""

BALANCE: dict[str, Any] = {
    "samplers": {"long_tail": {"use": "standard/long-tail", "ratio": 20.0}},
    "networks": {"classifier": {"use": "host/classifier"}},
    "losses": {"balance": {"use": "probe/balance", "weight": 10.0, "cycle": 3}},
}
"""A regularizer with state that reads an untrained classifier, on long-tailed data."""

FREE: dict[str, Any] = {"attacks": {"free": {"use": "probe/free"}}, "loop": {"use": "probe/replay"}}
"""Free adversarial replay."""


@functools.cache
def registry(**more: ModuleType) -> Registry:
    """Return the probe plugin, the conformance suite's host, what stands in for the standard components, and more by name."""
    return Registry.of({"standard": standin, "probe": probe, "host": host, **more})


@contextmanager
def installed(plugins: Registry) -> Iterator[None]:
    """Let the command line see these plugins instead of those of the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "discover", lambda: plugins)
        gancore.registry.registry.cache_clear()
        yield
    gancore.registry.registry.cache_clear()


def plan_of(
    *tables: dict[str, Any], base: dict[str, Any] | None = None, name: str = "test", plugins: Registry | None = None
) -> Plan:
    """Return the plan of the base recipe with tables layered over it, by default with the plugins of core's tests."""
    plugins = plugins or registry()
    table = base or GAME
    for over in tables:
        table = merge(table, over)
    return make_plan(check_table(table, plugins, name=name), plugins)


def run_of(*tables: dict[str, Any], base: dict[str, Any] | None = None) -> Run:
    """Return the run of the base recipe with tables layered over it."""
    return Run(plan_of(*tables, base=base), CPU)


def steps(run: Run, number: int) -> Run:
    """Run some iterations and return the run."""
    for _ in range(number):
        run.step()
    return run


def state_of(run: Run) -> dict[str, Tensor]:
    """Return every tensor of a run's modules and optimizers, by name."""
    state = {f"{owner}/{key}": value for owner, module in run.modules().items() for key, value in module.state_dict().items()}
    for name, player in run.players.items():
        for number, entry in player.optimizer.state_dict()["state"].items():
            own = {key: value for key, value in entry.items() if isinstance(value, Tensor)}
            state |= {f"optimizer.{name}/{number}.{key}": value for key, value in own.items()}
    return state


def same(one: Run, two: Run) -> list[str]:
    """Return the names of tensors that differ in any bit."""
    a, b = state_of(one), state_of(two)
    return [name for name in {*a, *b} if name not in a or name not in b or not torch.equal(a[name], b[name])]
