"""The recipes: a classifier that learns from reconstructions trains, resumes, and sees images of the generator alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_defensegan.reconstruction import Descent, reconstructed
from gancore_training import TrainingRun, checkpoint

from gancore import GancoreError
from gancore.files.tensors import write_tensors
from gancore.plan.load import make_plan
from gancore.recipe.recipe import read
from gancore.registry import registry
from tests.compose.hosts import CPU, same, steps

SMALL = ("run.batch_size=8", "networks.generator.hidden=8", "networks.classifier.width=0.1", "metrics=false")


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Path]:
    """Weights of the generator, which no test trains."""
    from gancore_standard.networks.mlp import MLPGenerator

    torch.manual_seed(0)
    network = MLPGenerator(channels=1, image_size=8, latent_dim=32, hidden=8, depth=2)
    path = tmp_path / "generator.safetensors"
    write_tensors(path, network.state_dict(), {})
    return {"networks.generator": path}


def run_of(weights: dict[str, Path], *texts: str, name: str = "digits-small-rec") -> TrainingRun:
    recipe = read(f"defensegan/{name}", registry(), assignments=[*SMALL, *texts])
    return TrainingRun(make_plan(recipe, registry()), CPU, weights)


def test_the_classifier_sees_reconstructions(weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.Tensor] = []

    def recorded(*arguments: Any, **settings: Any) -> torch.Tensor:
        images = reconstructed(*arguments, **settings)
        assert isinstance(arguments[4], Descent)
        made.append(images)
        return images

    monkeypatch.setattr("gancore_defensegan.loop.reconstructed", recorded)
    run = run_of(weights, "loop.steps=3", "loop.restarts=2")
    seen: list[torch.Tensor] = []
    run.networks["classifier"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    run.networks["classifier"].layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    steps(run, 2)
    assert len(made) == 2
    assert not torch.equal(made[0], made[1])
    assert torch.equal(seen[0], made[0])


@pytest.mark.parametrize("name", ["digits-small", "digits-small-rec"])
def test_it_resumes_bit_for_bit(weights: dict[str, Path], name: str, tmp_path: Path) -> None:
    texts = ("loop.use=defensegan/reconstructed", "loop.steps=3", "loop.restarts=2")
    whole, half, again = (run_of(weights, *texts, name=name) for _ in range(3))
    steps(whole, 4)
    checkpoint.save(steps(half, 2), tmp_path)
    checkpoint.load(again, checkpoint.checkpoints(tmp_path)[-1])
    assert same(whole, steps(again, 2)) == []


def test_the_generator_stays_as_it_is(weights: dict[str, Path]) -> None:
    run = run_of(weights, "loop.steps=3")
    before = {name: value.clone() for name, value in run.networks["generator"].state_dict().items()}
    steps(run, 2)
    assert all(torch.equal(before[name], value) for name, value in run.networks["generator"].state_dict().items())


def test_without_a_generator_it_is_refused() -> None:
    with pytest.raises(GancoreError, match="needs a generator"):
        run_of({}, "networks.generator=false")


def test_a_classifier_is_defended_by_a_fragment(weights: dict[str, Path]) -> None:
    recipe = read("defensegan/digits-small", registry(), overlays=["defensegan/defended"], assignments=SMALL[:-1])
    score = make_plan(recipe, registry()).metrics["defended"].settings
    assert score["epsilons"] == [0.6]
    assert score["defense_settings"] == {"steps": 200, "restarts": 10, "rate": 2.5, "sees": "bare"}
