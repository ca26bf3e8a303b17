"""The recipes: what the discriminator sees, the baselines, and trainings that resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training import TrainingRun, checkpoint

from gancore import GancoreError
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from gancore.registry import registry
from tests.compose.hosts import CPU, same, steps

BASE = "ambientgan/digits-small"
SMALL = (
    "run.batch_size=8",
    "run.precision=float32",
    "networks.generator.width=0.05",
    "networks.discriminator.width=0.05",
    "networks.annotator=false",
    "metrics=false",
)
FRAGMENTS = [
    name
    for name, path in registry().recipes().items()
    if name.startswith("ambientgan/") and "Fragment" in path.read_text(encoding="utf-8")
]


def run_of(*fragments: str, **settings: Any) -> TrainingRun:
    assignments = [*SMALL, *(f"samplers.measurement.{key}={value}" for key, value in settings.items())]
    return TrainingRun(make_plan(read(BASE, registry(), overlays=fragments, assignments=assignments), registry()), CPU)


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_each_measurement_over_the_small_recipe_trains_and_resumes(fragment: str, tmp_path: Path) -> None:
    whole, half, again = (run_of(fragment) for _ in range(3))
    assert whole.recipe.entries["samplers", "measurement"].declared.full_name == fragment
    steps(whole, 4)
    checkpoint.save(steps(half, 2), tmp_path)
    checkpoint.load(again, checkpoint.checkpoints(tmp_path)[-1])
    assert same(whole, steps(again, 2)) == []


def seen_by_the_discriminator(run: TrainingRun) -> list[torch.Tensor]:
    """Return what the discriminator is given in one iteration."""
    seen: list[torch.Tensor] = []
    run.networks["discriminator"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    steps(run, 1)
    return seen


def test_the_discriminator_sees_measurements_of_both_and_of_neither_an_image() -> None:
    joined, generated = seen_by_the_discriminator(run_of(probability=0.5, mode="ambient"))
    for images in (joined[:8], joined[8:], generated):
        assert (images == -1).flatten(1).float().mean(1).min() > 0.25
    assert not torch.equal(joined[:8] == -1, joined[8:] == -1)


def test_the_baselines_show_generated_images_as_they_are() -> None:
    for mode in ("ignore", "unmeasure"):
        joined, generated = seen_by_the_discriminator(run_of(mode=mode))
        assert not (joined[8:] == -1).any()
        assert not (generated == -1).any()
        assert bool((joined[:8] == -1).flatten(1).float().mean(1).min() > 0.25) == (mode == "ignore")


def test_scores_and_samples_are_of_images_that_are_not_measured() -> None:
    run = run_of(probability=0.9)
    assert not (run.generate(run.latent(8, "samples")) == -1).any()


@pytest.mark.parametrize(
    ("settings", "piece"),
    [
        ({"probability": 1.0}, "probability must be a number in [0, 1), not 1"),
        ({"mode": "unmesure"}, "did you mean 'unmeasure'?"),
        ({"use": "ambientgan/keep-patch", "size": 3, "mode": "unmeasure"}, "mode"),
        ({"use": "ambientgan/block-patch"}, "size"),
        ({"use": "ambientgan/block-patch", "size": 12}, "larger than images of 8"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(settings: dict[str, Any], piece: str) -> None:
    with pytest.raises(GancoreError) as caught:
        run_of(**settings)
    assert piece in str(caught.value)
    assert "\n" not in str(caught.value)
