"""Host recipes around a component under test, which stands in them under the label ``tested``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch

from gancore import Classifier, Discriminator, GancoreError, Generator, LossTerm
from gancore.tools import (
    Plan,
    Registry,
    Run,
    check,
    check_table,
    make_plan,
    merge,
    parameters_of,
    settings_of,
)
from gancore_testing import host
from gancore_testing.another_device import CPU

LABEL = "tested"

Table = dict[str, Any]

ADAM: Table = {"use": "torch/Adam", "lr": 2e-4, "betas": [0.5, 0.999], "fused": True}

# Adam turns gradients that are 0 but for rounding into whole steps; plain descent keeps rounding as small as it is.
SGD: Table = {"use": "torch/SGD", "lr": 0.05, "momentum": 0.9}

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
    "evaluation": {"samples": 24, "batch_size": 12},
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

ROLES = {"generator": Generator, "discriminator": Discriminator, "classifier": Classifier}
"""The roles that the host has for a network, and what takes them."""

SHAPES = ((1, 8), (3, 8), (2, 1), (3, 16), (3, 32), (3, 64))
"""Channels and pixels a side of the images that the host offers to a network, until it takes them."""


def host_registry(modules: Mapping[str, ModuleType] | None = None) -> Registry:
    """Return a registry of the host and of some declaring modules, by plugin name."""
    return Registry.of({"host": host, **(modules or {})})


def plan_of(table: Table, registry: Registry) -> Plan:
    """Return the plan of a host recipe."""
    return make_plan(check_table(table, registry, name="conformance"), registry)


def build_host(table: Table, registry: Registry, device: torch.device = CPU) -> Run:
    """Return the run of a host recipe."""
    return Run(plan_of(table, registry), device)


def host_of(kind: str, cls: Any, use: str, settings: Mapping[str, Any], beside: Table | None = None) -> Table:
    """Return the table of the host that a component needs, with the component in it.

    Args:
        kind: One of `HOSTED`.
        cls: Its class, or the function that makes it.
        use: Its full name.
        settings: Its settings.
        beside: Further tables of the recipe, which the component needs.

    Raises:
        GancoreError: The settings are not what the class takes.
        LookupError: The host lacks what the component needs, and `beside` does not name it.
    """
    around = HOSTED[kind](cls, {"use": use, **settings}, merge(GAME, beside or {}))
    table = merge(merge(GAME, around), beside or {})
    further = set(table["loop"].get("players", ())) - set(table["optimizers"])
    return merge(table, {"optimizers": dict.fromkeys(sorted(further), ADAM)})


def is_supervised(cls: type[LossTerm]) -> bool:
    """Return whether a term trains a classifier alone, instead of a player of the game."""
    return callable(getattr(cls, "classifier", None)) and not (hasattr(cls, "generator") or hasattr(cls, "discriminator"))


def role_of(cls: type[Any]) -> str | None:
    """Return the role that the host has for a network, if it has one."""
    return next((role for role, base in ROLES.items() if issubclass(cls, base)), None)


def built(cls: Any, own: Table, **context: Any) -> Any:
    """Return a component of its own table and what the host knows for constructors, or what is said here instead."""
    settings = {key: value for key, value in own.items() if key != "use"}
    return cls(**check(cls, settings, where=own["use"], context={**_context(), **context}))


@functools.cache
def _context() -> dict[str, Any]:
    """Return what core knows for constructors in the host."""
    return plan_of(GAME, host_registry()).context


# -- what each kind needs around it --------------------------------------------------------------------------------------


def _around_loss(cls: type[LossTerm], own: Table, table: Table) -> Table:
    methods = [getattr(cls, player) for player in table["networks"] if callable(getattr(cls, player, None))]
    names = {name for method in methods for name in parameters_of(method)} - {"real_label", "fake_label"}
    around: Table = {"sources": {name.removesuffix("_label"): {} for name in names if name.endswith("_label")}}
    if is_supervised(cls):
        generated = any(name.startswith("fake_") for name in names)
        generator = {"networks": {"generator": GAME["networks"]["generator"]}} if generated else {}
        around = merge(merge(SUPERVISED, generator), around)
    return merge(around, {"losses": {LABEL: own}})


def _around_head(_cls: Any, own: Table, _table: Table) -> Table:
    return {"heads": {LABEL: own}, "losses": {"reader": {"use": "host/head-loss"}}}


def _around_sampler(cls: Any, own: Table, _table: Table) -> Table:
    return {"samplers": {LABEL: own}, "sources": {label: {} for label in built(cls, own).reads()}}


def _around_loop(cls: Any, own: Table, table: Table) -> Table:
    players: Sequence[str] = built(cls, own).players
    missing = sorted(set(players) - set(table["networks"]))
    if missing:
        raise LookupError(
            f"the host has no network called {' or '.join(missing)}; give conformance what it needs: "
            f"beside={{{own['use'].partition('/')[2]!r}: {{'networks': {{...}}, 'losses': {{...}}}}}}"
        )
    around: Table = {
        "loop": own,
        "losses": SUPERVISED["losses"] if set(players) == {"classifier"} else {},
        "optimizers": {player: ADAM if player in players else False for player in {*PLAYERS, *players}},
    }
    if "classifier" in players:
        around = merge(around, {"losses": {"loss": {"use": "host/classifier-loss"}}})
    return around if "generator" in players else {**around, "ema": False}


def _around_network(cls: Any, own: Table, table: Table) -> Table:
    role = role_of(cls)
    if role is None:
        labels = [label for label, network in table["networks"].items() if network and network["use"] == own["use"]]
        if not labels:
            raise LookupError(
                "it is no generator, discriminator or classifier; give conformance its place: "
                f"beside={{{own['use'].partition('/')[2]!r}: {{'networks': {{...}}}}}}"
            )
        return {"networks": dict.fromkeys(labels, own)}
    around = merge(SUPERVISED if role == "classifier" else {}, {"networks": {role: own}})
    if table["data"] != GAME["data"]:
        return around
    refused = None
    for channels, size in SHAPES:
        try:
            built(cls, own, channels=channels, image_size=size)
        except GancoreError as error:
            refused = refused or error
        else:
            return {**around, "data": {"use": "host/noise", "channels": channels, "image_size": size}}
    raise LookupError(f"it takes none of the images that the host offers ({refused}); give conformance its settings, or data")


def _around_metric(cls: Any, own: Table, table: Table) -> Table:
    setting = settings_of(cls).get("network")
    name = own.get("network", setting.default if setting is not None else getattr(cls, "network", None))
    classifier = {} if name is None or name in table["networks"] else {name: {"use": "host/classifier"}}
    return {"networks": classifier, "metrics": {LABEL: own}}


def _around_schedule(_cls: Any, own: Table, _table: Table) -> Table:
    return {"optimizers": {player: {**SGD, "schedule": own} for player in ("generator", "discriminator")}}


HOSTED: dict[str, Callable[[Any, Table, Table], Table]] = {
    "loss": _around_loss,
    "head": _around_head,
    "sampler": _around_sampler,
    "latent": lambda _cls, own, _table: {"latent": own},
    "attack": lambda _cls, own, _table: {"attacks": {LABEL: own}},
    "loop": _around_loop,
    "network": _around_network,
    "dataset": lambda _cls, own, _table: {"data": own},
    "metric": _around_metric,
    "optimizer": lambda _cls, own, _table: {"optimizers": {"generator": own, "discriminator": own}},
    "schedule": _around_schedule,
}
"""Kinds of components that there is a host for -> the tables that one needs: of its class, its own table, and the host."""
