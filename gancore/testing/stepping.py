"""Host recipes around a component under test, and what is looked at while they step."""

from __future__ import annotations

import copy
from typing import Any

import attrs
import gancore_standard
import torch

import gancore.testing.host as host
from gancore.contract import LossTerm, Sampler, check
from gancore.engine import Run, Watch
from gancore.plan import make_plan, parameters_of
from gancore.recipe import Registry, check_table

GAME: dict[str, Any] = {
    "run": {"iterations": 10, "batch_size": 7, "latent_dim": 4, "precision": "float32"},
    "data": {"use": "host/noise"},
    "networks": {
        "generator": {"use": "host/generator"},
        "discriminator": {"use": "host/discriminator"},
        "classifier": {"use": "host/classifier"},
    },
    "heads": {"adversarial": {"use": "standard/linear"}, "classes": {"use": "standard/auxiliary-classifier"}},
    "losses": {"adversarial": {"use": "standard/non-saturating"}},
    "ema": {"decay": 0.9},
}

SUPERVISED: dict[str, Any] = {
    "run": GAME["run"],
    "data": GAME["data"],
    "networks": {"classifier": {"use": "host/classifier"}},
    "losses": {"loss": {"use": "standard/cross-entropy"}},
    "loop": {"use": "standard/supervised"},
}


PLAYERS = ("generator", "discriminator", "classifier")


def host_registry() -> Registry:
    """Return the registry of core and of the host alone."""
    return Registry.of({"standard": gancore_standard, "host": host})


@attrs.frozen
class HostTable:
    """A recipe's table around the part under test.

    Attributes:
        table: The table.
        supervised: Whether it trains a classifier instead of playing a game.
    """

    table: dict[str, Any] = attrs.field(factory=lambda: copy.deepcopy(GAME))
    supervised: bool = False

    def for_term(self, cls: type[LossTerm], use: str, **settings: Any) -> HostTable:
        """Return the host that a loss term needs, with the term in it under the label ``part``."""
        game = any(callable(getattr(cls, player, None)) for player in ("generator", "discriminator"))
        base = HostTable(copy.deepcopy(GAME if game else SUPERVISED), supervised=not game)
        methods = [getattr(cls, player) for player in PLAYERS if callable(getattr(cls, player, None))]
        names = {name for method in methods for name in parameters_of(method)}
        if any(name.startswith("fake_") for name in names) and not game:
            base = base.with_part("networks", "generator", "host/generator")
        for name in names - {"real_label", "fake_label"}:
            if name.endswith("_label"):
                base = base.with_part("sources", name.removesuffix("_label"), None)
        return base.with_part("losses", "part", use, **settings)

    def for_sampler(self, cls: type[Sampler], use: str, **settings: Any) -> HostTable:
        """Return the host that a sampler needs: a game, with the sources that it reads."""
        plan = make_plan(check_table(self.table, host_registry(), name="conformance"), host_registry())
        sampler = cls(**check(cls, settings, where=use, context=plan.context))
        base = self
        for label in sampler.reads():
            base = base.with_part("sources", label, None)
        return base.with_part("samplers", "part", use, **settings)

    def with_part(self, group: str, label: str, use: str | None, **keys: Any) -> HostTable:
        """Return a copy with a part added, or with keys of a part changed."""
        table = copy.deepcopy(self.table)
        part = table.setdefault(group, {}).setdefault(label, {})
        part.update({**({"use": use} if use else {}), **keys})
        return attrs.evolve(self, table=table)

    def without_part(self, group: str, label: str) -> HostTable:
        """Return a copy without a part."""
        table = copy.deepcopy(self.table)
        del table[group][label]
        return attrs.evolve(self, table=table)

    def with_run(self, **settings: Any) -> HostTable:
        """Return a copy with settings of the run changed."""
        return attrs.evolve(self, table={**self.table, "run": {**self.table["run"], **settings}})


def build_host(host: HostTable, registry: Registry) -> Run:
    """Return the run of a host recipe, on the CPU."""
    return Run(make_plan(check_table(host.table, registry, name="conformance"), registry), torch.device("cpu"))


def finite(run: Run) -> list[str]:
    """Return the names of losses, parameters and states that are not finite."""
    everything = {**run.losses, **run.tensors()}
    return [name for name, value in everything.items() if value.is_floating_point() and not value.isfinite().all()]


def gradients_elsewhere(run: Run) -> list[str]:
    """Take each player's turn alone and return the parameters of others that got a gradient."""
    run.turn = 0
    batch = run.fresh()
    reached = []
    for player in run.players:
        for other in run.players.values():
            other.zero_grad()
        run.phase(player, batch)
        modules = {name: module for name, module in run.modules().items() if not name.startswith(("ema", "loss"))}
        modules |= {f"network.{name}": network for name, network in run.networks.items()}
        own = {id(parameter) for parameter in run.players[player].parameters}
        reached += [
            f"{name}.{key} in the turn of the {player}"
            for name, module in modules.items()
            for key, parameter in module.named_parameters()
            if id(parameter) not in own and parameter.grad is not None
        ]
        if not any(parameter.grad is not None for parameter in run.players[player].parameters):
            reached.append(f"nothing of the {player} itself")
    return reached


def bitwise_difference(one: Run, two: Run) -> list[str]:
    """Return the names of tensors of `one` that `two` has otherwise."""
    a, b = one.tensors(), two.tensors()
    return [name for name in a if name not in b or not torch.equal(a[name], b[name])]


class NoSynchronization(Watch):
    """Refuses the operators that make the host wait for the device, on any device."""

    def __init__(self) -> None:
        super().__init__(self._refuse)

    @staticmethod
    def _refuse(_name: str, reason: str) -> None:
        raise AssertionError(reason)
