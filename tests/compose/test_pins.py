"""What keys every random draw, and what a checkpoint holds, as literals: a change of the code must not move them unnoticed.

No value here depends on the machine. `SEEDS` is written by hand; the two files beside this module, ``pins/draws.json`` and
``pins/checkpoints.json``, were written by `write`, which takes them from the code as it is:

    python -c "from tests.compose.test_pins import write; write()"

A pin that changes makes every earlier run another run, or every earlier checkpoint unreadable; so write the files anew only
where that is meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from gancore_standard.robustness import attack_batches
from gancore_training.evaluate import Evaluator
from gancore_training.sampling import sample
from gancore_training.training_run import TrainingRun
from gancore_uap.perturbation_files import random_perturbation
from torch import Tensor, nn

from benchmarks.stored_losses import RECIPES
from gancore.contract.attacks import Attack
from gancore.parallel.randomness import derive, drawing_from
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from tests.compose.hosts import CPU, registry, steps

PINS = Path(__file__).with_name("pins")

SENTINEL = 12345
"""Seed of the default generator where core has not seeded it."""

SEEDS: list[tuple[int, tuple[str | int, ...], int]] = [
    (0, ("weights", "networks.generator"), 5547821822856651023),
    (0, ("phase", 3, 1, 0), 6690954600405319720),
    (0, ("latent", 17, 0), 8364358482886942042),
    (2**40 + 7, ("latent", 17, 0), 7692009283054145060),
    (0, ("epoch", 2), 3513500046180086586),
    (0, ("draw", 5, 0), 1759613942902039029),
    (0, ("source", "avoid"), 3805972303570046684),
    (0, ("augmentation", 5, 0), 8761436242284089208),
    (0, ("augmentation", "avoid", 5, 0), 542577946384665026),
    (0, ("sampler", "difference", 5, 0), 4188897381129441385),
    (0, ("view", "dim", "real", 3, 1, 0), 8877087830159800510),
    (0, ("attack", 3, 1, 0), 8675099548812519046),
    (0, ("attack", "fake", 3, 1, 0), 8082604775396260423),
    (0, ("loss", "penalty", "interpolate", 3, 1, 0), 5120570405947241432),
    (0, ("evaluation", 0, 500), 7160313634636704212),
    (0, ("samples", 0), 4526350943977796821),
    (0, ("proxy", 2, 250), 800044036758563444),
    (0, ("robustness", "pgd", 4), 1462132085829768660),
    (0, ("random perturbation", "sign"), 1349389527176641940),
    (0, ("kernel-distance",), 866065066247129498),
    (0, ("classification-accuracy",), 826248461914452246),
    (0, ("classification-accuracy", "order"), 4623534917036694503),
    (0, ("classification-accuracy", "flip"), 8174031161697210238),
    (0, ("novelty",), 4191214853363974169),
    (0, ("novelty", "order", "real"), 4386859794689359360),
]

SMALL = ("run.batch_size=8", "evaluation.samples=12", "evaluation.batch_size=8")

GAMES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "composed": ("cbgan/digits-lt", ("fastrobgan/free", "dsgan/difference"), (*SMALL, "data.flip=true")),
    "RobGAN": ("fastrobgan/digits-small-robgan", (), SMALL),
    "points": ("dsgan/swiss-roll", (), SMALL),
    "weighted, penalized, viewed": (
        "cbgan/digits-lt-baseline",
        (),
        (
            *SMALL,
            "run.seed=3",
            "samplers.balanced.use=standard/class-balanced",
            "samplers.dim.use=probe/dim",
            "losses.penalty.use=standard/gradient-penalty",
            "metrics.kid.use=standard/kid",
            "metrics.kid.network=annotator",
            "metrics.cas.use=standard/cas",
            "metrics.cas.network=annotator",
            "metrics.cas.architecture=small-cnn",
            "metrics.cas.classifier_iterations=2",
            "metrics.cas.classifier_batch_size=4",
            "metrics.cas.flip=true",
            "metrics.novelty.use=dsgan/novelty",
            "metrics.novelty.seen=[0, 1]",
            "metrics.novelty.detector_iterations=2",
            "metrics.novelty.detector_batch_size=4",
        ),
    ),
    "attacked on both sides": ("fastrobgan/digits-small-fine-tune", (), SMALL),
}
"""Recipe, overlays and assignments of each game whose draws are pinned."""


class Noisy(Attack):
    """Adds noise."""

    def fool(self, x: Tensor, label: Tensor, classify: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        return x + torch.rand(x.shape, generator=noise)


class Recorder:
    """A source of generators that notes what each is for."""

    def __init__(self) -> None:
        self._generators: list[tuple[str, torch.Generator, Tensor]] = []

    def generator(self, kind: Any, device: Any, seed: int, purpose: tuple[str | int, ...]) -> Any:
        rng = kind(device)
        rng.manual_seed(derive(seed, *purpose))
        self._generators.append(("/".join(map(str, (kind.__name__, seed, *purpose))), rng, rng.get_state()))
        return rng

    def seed_default(self, seed: int, purpose: tuple[str | int, ...]) -> None:
        """Do nothing: what the default generators are seeded with is pinned elsewhere."""

    def input(self, make: Callable[[int], Tensor], count: int) -> Tensor:
        return make(count)

    @property
    def draws(self) -> list[str]:
        """What was drawn, sorted, for the order is free. A generator that nothing drew from is left out: it changes nothing."""
        return sorted(purpose for purpose, rng, state in self._generators if not torch.equal(rng.get_state(), state))


@contextmanager
def seeds_of_the_default_generator() -> Iterator[list[int]]:
    """Note each new seed of the default generator under which a module is built or called."""
    seeds: list[int] = []

    def look(*_: object) -> None:
        seed = torch.initial_seed()
        if seed != SENTINEL and seed not in seeds:
            seeds.append(seed)

    start = nn.Module.__init__

    def init(module: nn.Module, *args: Any, **settings: Any) -> None:
        look()
        start(module, *args, **settings)

    hook = nn.modules.module.register_module_forward_pre_hook(look)
    with torch.random.fork_rng(devices=[]), patch.object(nn.Module, "__init__", init):
        torch.default_generator.manual_seed(SENTINEL)
        try:
            yield seeds
        finally:
            hook.remove()


def run_of(recipe: str, overlays: tuple[str, ...], assignments: tuple[str, ...]) -> TrainingRun:
    """Build a run whose networks nobody has trained first."""
    return TrainingRun(make_plan(read(recipe, registry(), overlays=overlays, assignments=assignments), registry()), CPU)


def draws_of(name: str) -> dict[str, Any]:
    """Return what keys the draws of a game: as it is built, of two iterations, of samples, of its metrics, and of turns."""
    with seeds_of_the_default_generator() as weights:
        run = run_of(*GAMES[name])
    drawn: dict[str, list[str]] = {}
    todo: dict[str, Callable[[], object]] = {"iterations": lambda: steps(run, 2)}
    if "generator" in run.networks:
        todo |= {"samples": lambda: sample(run, 3, seed=5), "scores": Evaluator(run)}
    for task, do in todo.items():
        recorder = Recorder()
        with drawing_from(recorder):
            do()
        drawn[task] = recorder.draws
    with seeds_of_the_default_generator() as turns:
        steps(run, 2)
    return {"weights": sorted(weights), **drawn, "turns from iteration 2": turns}


def checkpoint_of(name: str) -> dict[str, Any]:
    """Return what a checkpoint of one of the stored traces' recipes holds after an iteration: types, shapes and numbers."""
    run = steps(run_of(*RECIPES[name]), 1)
    tensors = {key: f"{str(value.dtype)[6:]} {list(value.shape)}" for key, value in sorted(run.tensors().items())}
    return {"counters": run.counters(), "tensors": tensors}


def write() -> None:
    """Write the two files from the code as it is."""
    for file, names, of in (("draws", GAMES, draws_of), ("checkpoints", RECIPES, checkpoint_of)):
        pins = {name: of(name) for name in names}
        (PINS / f"{file}.json").write_text(json.dumps(pins, indent=1) + "\n")


def pinned(file: str, name: str) -> Any:
    return json.loads((PINS / f"{file}.json").read_text())[name]


@pytest.mark.parametrize(
    ("seed", "purpose", "expected"), SEEDS, ids=lambda value: str(value) if isinstance(value, tuple) else ""
)
def test_a_purpose_has_its_seed(seed: int, purpose: tuple[str | int, ...], expected: int) -> None:
    assert derive(seed, *purpose) == expected


@pytest.mark.parametrize("name", GAMES)
def test_a_game_draws_for_the_same_purposes(name: str) -> None:
    assert draws_of(name) == pinned("draws", name)


def test_the_draws_outside_of_a_game_are_for_the_same_purposes() -> None:
    recorder = Recorder()
    images, labels = torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64)
    with drawing_from(recorder):
        random_perturbation((1, 4, 4), 0.1, "linf", 7)
        attack_batches(lambda x: torch.eye(2)[[0] * len(x)], [(images, labels)], {"noisy": Noisy()}, 9)
    assert recorder.draws == ["Generator/7/random perturbation/sign", "Generator/9/robustness/noisy/0"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_checkpoint_holds_the_same_tensors(name: str) -> None:
    assert checkpoint_of(name) == pinned("checkpoints", name)
