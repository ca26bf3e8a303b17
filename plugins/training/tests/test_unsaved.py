"""Numbers that components keep are saved, and other state that a checkpoint would forget is refused, wherever it lies."""

from __future__ import annotations

import copy
import itertools
import json
import random
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
import torch
from gancore_testing.components import LinearHead, Normal
from gancore_training import TrainingRun, Unsaved
from torch import Tensor, nn

import gancore
from gancore import GancoreError
from gancore.registry import Registry
from gancore.testing import host
from tests import probe, standin
from tests.hosts import CPU, plan_of, same, steps
from tests.probe.parts import Descent, TinyDiscriminator
from tests.standin.loops import Alternating

MODULE = __name__


class Stats:
    """Counts."""

    def __init__(self) -> None:
        self.seen = [0]


class Keeper(nn.Module):
    """Keeps something in the place that its subclass's setting says, and changes it when it is called."""

    start: ClassVar[dict[str, Callable[[], Any]]] = {
        "number": lambda: 0,
        "flag": lambda: False,
        "nothing yet": lambda: None,
        "list": list,
        "dict": lambda: {"seen": {"real": 0}},
        "object": Stats,
        "tensor": lambda: torch.zeros(()),
        "tensor in place": lambda: torch.zeros(()),
        "array": lambda: np.zeros(2),
        "torch noise": lambda: torch.Generator(),
        "numpy noise": lambda: np.random.default_rng(0),
        "noise": lambda: random.Random(0),
        "iterator": itertools.count,
        "late buffer": lambda: 0,
        "passing buffer": lambda: 0,
    }

    def begin(self, what: str) -> None:
        self.what = what
        self.kept = self.start[what]() if what in self.start else 0
        if what == "passing buffer":
            self.register_buffer("count", torch.zeros(()), persistent=False)

    def change(self) -> None:
        kept: Any = self.kept
        changes: dict[str, Callable[[], Any]] = {
            "number": lambda: kept + 1,
            "flag": lambda: True,
            "nothing yet": lambda: torch.zeros(()),
            "list": lambda: kept.append(len(kept)),
            "dict": lambda: kept["seen"].update(real=kept["seen"]["real"] + 1),
            "object": lambda: kept.seen.append(1),
            "tensor": lambda: 1 - kept,
            "tensor in place": lambda: kept.add_(1),
            "array": lambda: np.add(kept, 1, out=kept),
            "torch noise": lambda: torch.rand((), generator=kept),
            "numpy noise": lambda: kept.random(),
            "noise": lambda: kept.random(),
            "iterator": lambda: next(kept),
            "late buffer": lambda: self.register_buffer("late", torch.zeros(())),
            "passing buffer": lambda: self.count.add_(1),
        }
        new = changes[self.what]() if self.what in changes else None
        if self.what in ("number", "flag", "nothing yet", "tensor"):
            self.kept = new


SAVED = ("number", "flag", "list", "dict")
"""What a checkpoint holds beside tensors."""

NAMED = {"late buffer": "the names of its buffers", "passing buffer": "count", "object": "kept"}
"""What the sentence names, where that is not ``kept``."""


class KeepingLoop(Alternating, Keeper):
    def __init__(self, *, what: str) -> None:
        super().__init__()
        self.begin(what)

    def iteration(self, run: gancore.Run) -> None:
        self.change()
        super().iteration(run)


class KeepingTerm(gancore.LossTerm, Keeper):
    def __init__(self, *, what: str) -> None:
        super().__init__()
        self.begin(what)

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        self.change()
        return fake_adversarial.mean()


class KeepingSampler(gancore.Sampler, Keeper):
    def __init__(self, *, what: str) -> None:
        super().__init__()
        self.begin(what)

    def draw(self, batch: Any, noise: torch.Generator) -> Any:
        self.change()
        return batch


class KeepingLatent(Normal, Keeper):
    def __init__(self, *, what: str, latent_dim: int) -> None:
        super().__init__(latent_dim=latent_dim)
        self.begin(what)

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        self.change()
        return super().draw(number, noise)


class KeepingAttack(gancore.Attack, Keeper):
    def __init__(self, *, what: str) -> None:
        super().__init__()
        self.begin(what)

    def craft(self, x: Tensor, objective: Any, noise: torch.Generator) -> Tensor:
        self.change()
        return x


class KeepingDiscriminator(TinyDiscriminator, Keeper):
    def __init__(self, *, what: str, channels: int, image_size: int) -> None:
        super().__init__(channels=channels, image_size=image_size)
        self.begin(what)

    def forward(self, x: Tensor) -> Tensor:
        self.change()
        return super().forward(x)


class KeepingHead(LinearHead, Keeper):
    def __init__(self, *, what: str, features: int) -> None:
        super().__init__(features=features)
        self.begin(what)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        self.change()
        return super().forward(features, label)


def keeping_schedule() -> gancore.Factor:
    called = 0

    def factor(_iteration: int) -> float:
        nonlocal called
        called += 1
        return 1.0

    return factor


class KeepingOptimizer(Descent):
    """Counts its steps in its settings, as optimizers without a schedule do."""

    def step(self, closure: Any = None) -> None:
        super().step(closure)
        for group in self.param_groups:
            group["steps"] = group.get("steps", 0) + 1


class Harmless(gancore.LossTerm):
    """Keeps what can be computed anew, and what changes no result."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = {"weights": [1.0, 2.0]}
        self.count: Tensor
        self.register_buffer("count", torch.zeros(()))

    @cached_property
    def kernel(self) -> Tensor:
        return torch.ones(3)

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return fake_adversarial.mean() * self.kernel.mean() * self.scale["weights"][0]

    def observe(self, *, fake_adversarial: Tensor) -> None:
        self.count = self.count + 1


class Renaming(TinyDiscriminator):
    """Gives its state other names, and a tensor of its own besides."""

    def __init__(self, *, channels: int, image_size: int) -> None:
        super().__init__(channels=channels, image_size=image_size)
        self.norm = nn.BatchNorm1d(16, affine=False)
        self.seen = torch.zeros(())

    def state_dict(self, *args: Any, **options: Any) -> Any:
        state = super().state_dict(*args, **options)
        return {**{f"old.{name}": value for name, value in state.items()}, "seen": self.seen}

    batch_statistics = True

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add_(1)
        return self.norm(super().forward(x))


class Showing(TinyDiscriminator):
    """Leaves behind what it computed, for whoever wants to look."""

    def __init__(self, *, channels: int, image_size: int) -> None:
        super().__init__(channels=channels, image_size=image_size)
        self.attention: Tensor | None = None
        self.hidden: list[Tensor] = []
        nn.utils.spectral_norm(self.net[1])  # the one of old, whose weight is no parameter

    def forward(self, x: Tensor) -> Tensor:
        self.attention = super().forward(x)
        self.hidden = [self.attention]
        return self.attention


OWNERS = {
    "loss_terms": "loss.keeps",
    "samplers": "sampler.keeps",
    "latents": "latent",
    "attacks": "attack",
    "loops": "loop",
    "networks": "network.discriminator",
    "heads": "head.adversarial",
}


class Careless(gancore.Sampler):
    """Draws from whatever stream there is, but the one that it gets."""

    def draw(self, batch: Any, noise: torch.Generator) -> Any:
        drawn = torch.rand(()) + np.random.rand() + random.random()
        return attrs.evolve(batch, real=(batch.real * (drawn / 3)).float())


class CarelessLoop(Alternating):
    """Likewise."""

    def iteration(self, run: gancore.Run) -> None:
        for _ in range(1 + random.randrange(3) + int(np.random.rand() < 0.5) + int(torch.rand(()) < 0.5)):
            super().iteration(run)


KINDS = {
    "loss_terms": "Term",
    "samplers": "Sampler",
    "latents": "Latent",
    "attacks": "Attack",
    "loops": "Loop",
    "networks": "Discriminator",
    "heads": "Head",
}


def _declares(hook: str, **names: str) -> Any:
    def declared() -> Iterator[gancore.Component]:
        for name, target in names.items():
            yield gancore.Component(name.replace("_", "-"), f"{MODULE}:{target}", "Of this test")

    declared.__name__ = hook
    return gancore.hookimpl(declared)


for _kind, _name in KINDS.items():
    globals()[f"gancore_{_kind}"] = _declares(
        f"gancore_{_kind}",
        keeping=f"Keeping{_name}",
        **{
            "loss_terms": {"harmless": "Harmless"},
            "networks": {"showing": "Showing", "renaming": "Renaming"},
            "samplers": {"careless": "Careless"},
            "loops": {"careless": "CarelessLoop"},
        }.get(_kind, {}),
    )
gancore_schedules = _declares("gancore_schedules", keeping="keeping_schedule")
gancore_optimizers = _declares("gancore_optimizers", keeping="KeepingOptimizer")

REGISTRY = Registry.of({"standard": standin, "probe": probe, "host": host, "forgets": sys.modules[MODULE]})


def keeping(kind: str, what: str) -> dict[str, Any]:
    component = {"use": "forgets/keeping", "what": what}
    places: dict[str, dict[str, Any]] = {
        "loops": {"loop": component},
        "loss_terms": {"losses": {"keeps": component}},
        "samplers": {"samplers": {"keeps": component}},
        "latents": {"latent": component},
        "attacks": {
            "attacks": {"keeps": component},
            "losses": {"adversarial": {"use": "host/non-saturating-game"}},
        },
        "networks": {"networks": {"discriminator": component}},
        "heads": {"heads": {"adversarial": component}},
        "schedules": {"losses": {"adversarial": {"schedule": {"use": "forgets/keeping"}}}},
        "optimizers": {"optimizers": {"generator": {"use": "forgets/keeping"}}},
    }
    return places[kind]


def run_of(*tables: dict[str, Any]) -> TrainingRun:
    return TrainingRun(plan_of(*tables, plugins=REGISTRY), CPU)


def check(*tables: dict[str, Any], number: int = 2) -> None:
    run = run_of(*tables)
    unsaved = Unsaved(run.parts)
    unsaved.check()
    steps(run, number)
    unsaved.check()


@pytest.mark.parametrize("what", sorted(Keeper.start.keys() - SAVED))
def test_whatever_else_a_loop_keeps_elsewhere_is_refused(what: str) -> None:
    with pytest.raises(GancoreError, match=rf"test: loop changes {NAMED.get(what, 'kept')} in an iteration"):
        check(keeping("loops", what))


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_keeps_an_object_is_named(kind: str) -> None:
    with pytest.raises(GancoreError, match=rf"^test: {OWNERS[kind]} changes kept in an iteration"):
        check(keeping(kind, "object"))


def kept_by(run: TrainingRun, kind: str) -> Any:
    modules = {
        **{f"network.{label}": network for label, network in run.networks.items()},
        **run.modules(),
        "loop": run.parts.loop,
    }
    return modules[OWNERS[kind]].kept


@pytest.mark.parametrize("what", SAVED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_a_component_keeps_goes_on_where_it_was(kind: str, what: str) -> None:
    check(keeping(kind, what))
    first, second = run_of(keeping(kind, what)), run_of(keeping(kind, what))
    fresh = copy.deepcopy(kept_by(first, kind))
    steps(first, 2)
    assert kept_by(first, kind) != fresh or fresh is True  # it may have been called before the first iteration
    saved = json.loads(json.dumps(first.numbers()))
    tensors, counters = {name: value.clone() for name, value in first.tensors().items()}, first.counters()
    second.restore(tensors, counters, saved)
    assert kept_by(second, kind) == kept_by(first, kind)
    steps(first, 1)
    steps(second, 1)
    assert kept_by(second, kind) == kept_by(first, kind)
    # What was tried and is taken back leaves nothing, in a list that the component still holds either.
    second.restore(tensors, counters)
    assert kept_by(second, kind) == fresh


@pytest.mark.parametrize("numbers", [{"loop/what": 1}, {"loop/_modules": {}}, {"elsewhere/kept": 1}, {"loop/kept": "text"}])
def test_a_checkpoint_sets_numbers_alone_and_only_where_there_are_some(numbers: dict[str, Any]) -> None:
    run = run_of(keeping("loops", "number"))
    with pytest.raises(GancoreError, match="no component keeps a number"):
        run.restore(run.tensors(), run.counters(), numbers)


def test_a_schedule_that_counts_is_refused() -> None:
    with pytest.raises(GancoreError, match=r"the schedule of losses\.adversarial\.weight changes called"):
        check(keeping("schedules", ""))


def test_an_optimizer_that_counts_in_its_settings_is_refused() -> None:
    with pytest.raises(GancoreError, match=r"optimizers\.generator changes steps"):
        check(keeping("optimizers", ""))


def test_a_number_that_a_schedule_sets_is_the_schedules() -> None:
    check({"optimizers": {"generator": {"use": "standard/adam", "schedules": {"beta1": {"use": "linear"}}}}})


@pytest.mark.parametrize(
    "table",
    [
        {"losses": {"harmless": {"use": "forgets/harmless"}}},
        {"networks": {"discriminator": {"use": "forgets/showing"}}},
        {"networks": {"discriminator": {"use": "forgets/renaming"}}},
    ],
)
def test_what_is_saved_computed_anew_or_merely_shown_is_not_refused(table: dict[str, Any]) -> None:
    check(table, number=3)


def test_what_draws_from_a_default_generator_is_resumed_to_the_last_bit() -> None:
    tables = ({"samplers": {"careless": {"use": "forgets/careless"}}}, {"loop": {"use": "forgets/careless"}})
    whole, cut, resumed = (run_of(*tables) for _ in range(3))
    steps(whole, 6)
    steps(cut, 3)
    for stream in (torch.manual_seed, np.random.seed, random.seed):
        stream(9)
    resumed.restore({name: tensor.detach().clone().contiguous() for name, tensor in cut.tensors().items()}, cut.counters())
    assert same(whole, steps(resumed, 3)) == []
    assert whole.draws == resumed.draws > 6
