"""Host recipes around a component under test, which stands in them under the label ``tested``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import torch

from gancore import LossTerm
from gancore.tools import Plan, Registry, Run, check, check_table, make_plan, merge, parameters_of
from gancore_testing import host

LABEL = "tested"

Table = dict[str, Any]

ADAM: Table = {"use": "torch/Adam", "lr": 2e-4, "betas": [0.5, 0.999], "fused": True}

GAME: Table = {
    "run": {"iterations": 10, "batch_size": 7, "latent_dim": 4, "precision": "float32"},
    "data": {"use": "host/noise"},
    "networks": {
        "generator": {"use": "host/generator"},
        "discriminator": {"use": "host/discriminator"},
        "classifier": {"use": "host/classifier"},
    },
    "heads": {"adversarial": {"use": "host/logit"}, "classes": {"use": "host/class-logits"}},
    "losses": {"adversarial": {"use": "host/non-saturating-game"}},
    "latent": {"use": "host/gaussian"},
    "loop": {"use": "host/turns", "players": ["discriminator", "generator"]},
    "optimizers": {"discriminator": ADAM, "generator": ADAM},
    "ema": {"decay": 0.9},
}

PLAYERS = tuple(GAME["networks"])

SUPERVISED: Table = {
    "networks": {"generator": False, "discriminator": False},
    "heads": False,
    "losses": {"adversarial": False, "loss": {"use": "host/classifier-loss"}},
    "loop": {"players": ["classifier"]},
    "optimizers": {"generator": False, "discriminator": False, "classifier": ADAM},
    "ema": False,
}
"""What makes the game the training of a classifier."""

HOSTED = {"loss": "losses", "head": "heads", "sampler": "samplers", "latent": "latent", "attack": "attacks", "loop": "loop"}
"""Kinds of components that there is a host for -> the table in which they stand."""


def host_registry(modules: Mapping[str, ModuleType] | None = None) -> Registry:
    """Return a registry of the host and of some declaring modules, by plugin name."""
    return Registry.of({"host": host, **(modules or {})})


def plan_of(table: Table, registry: Registry) -> Plan:
    """Return the plan of a host recipe."""
    return make_plan(check_table(table, registry, name="conformance"), registry)


def build_host(table: Table, registry: Registry) -> Run:
    """Return the run of a host recipe, on the CPU."""
    return Run(plan_of(table, registry), torch.device("cpu"))


def host_of(kind: str, cls: type[Any], use: str, settings: Mapping[str, Any]) -> Table:
    """Return the table of the host that a component needs, with the component in it.

    Args:
        kind: One of `HOSTED`.
        cls: Its class.
        use: Its full name.
        settings: Its settings.

    Raises:
        GancoreError: The settings are not what the class takes.
        LookupError: It is a loop that trains a network which the host does not have.
    """
    own = {"use": use, **settings}
    if kind == "latent":
        return merge(GAME, {"latent": own})
    if kind == "loop":
        return merge(merge(GAME, {"loop": own}), _around_loop(_built(cls, use, settings).players))
    around: Table = {}
    if kind == "loss":
        around = _around_term(cls)
    elif kind == "head":
        around = {"losses": {"reader": {"use": "host/head-loss"}}}
    elif kind == "sampler":
        around = {"sources": {label: {} for label in _built(cls, use, settings).reads()}}
    return merge(merge(GAME, around), {HOSTED[kind]: {LABEL: own}})


def is_supervised(cls: type[LossTerm]) -> bool:
    """Return whether a term trains a classifier alone, instead of a player of the game."""
    return not any(callable(getattr(cls, player, None)) for player in ("generator", "discriminator"))


def _built(cls: type[Any], use: str, settings: Mapping[str, Any]) -> Any:
    return cls(**check(cls, settings, where=use, context=plan_of(GAME, host_registry()).context))


def _around_term(cls: type[LossTerm]) -> Table:
    methods = [getattr(cls, player) for player in PLAYERS if callable(getattr(cls, player, None))]
    names = {name for method in methods for name in parameters_of(method)} - {"real_label", "fake_label"}
    around: Table = {"sources": {name.removesuffix("_label"): {} for name in names if name.endswith("_label")}}
    if not is_supervised(cls):
        return around
    generated = any(name.startswith("fake_") for name in names)
    return merge(merge(SUPERVISED, {"networks": {"generator": GAME["networks"]["generator"]}} if generated else {}), around)


def _around_loop(players: Sequence[str]) -> Table:
    missing = sorted(set(players) - set(PLAYERS))
    if missing:
        raise LookupError(f"the host has no network called {' or '.join(missing)}")
    around: Table = {
        "losses": SUPERVISED["losses"] if set(players) == {"classifier"} else {},
        "optimizers": {player: ADAM if player in players else False for player in PLAYERS},
    }
    if "classifier" in players:
        around = merge(around, {"losses": {"loss": {"use": "host/classifier-loss"}}})
    return around if "generator" in players else {**around, "ema": False}
