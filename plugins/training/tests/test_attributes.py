"""Runs on attributes are trained, sampled and scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training.checkpoint import checkpoints
from gancore_training.evaluate import Evaluator
from gancore_training.sampling import sample
from gancore_training.state import tensors_of
from gancore_training.trainer import open_run, train

from gancore import GancoreError
from gancore.files import read_tensors
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from tests.engine.test_attributes import AS_THE_DATA, CAUSAL, FACES
from tests.hosts import CPU, GAME, plan_of, registry, run_of, same, steps
from tests.probe.labeled import OCCURRING


def test_only_combinations_that_occur_are_trained_sampled_and_scored() -> None:
    run = run_of(FACES)
    asked = []
    run.networks["generator"].register_forward_pre_hook(lambda _, arguments: asked.append(arguments[1]))
    steps(run, 3)
    assert all(loss.isfinite() for loss in run.losses.values())
    images, label = sample(run, 20)
    scores = Evaluator(run)()
    assert images.shape == (20, 1, 8, 8)
    for rows in (torch.cat(asked), label):
        assert {tuple(row) for row in rows.tolist()} <= {tuple(row) for row in OCCURRING.tolist()}
    assert scores.values["asked/rows"] == OCCURRING.tolist()
    assert abs(scores.values["asked/asked"][0] - 1000) < 150  # in two of the four that occur
    assert scores.protocols["asked"]["fake_labels"].startswith("uniform over the 4 labels that occur (")


def test_attributes_are_as_frequent_as_in_the_data_where_a_recipe_says_so() -> None:
    asked = Evaluator(run_of(FACES, AS_THE_DATA))().values["asked/asked"]
    assert abs(asked[0] - 2000 * 6 / 96) < 60
    assert abs(asked[1] - 2000 * 40 / 96) < 100


def test_a_run_on_attributes_is_resumed_and_sampled_without_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def recipe(iterations: int) -> Any:
        table = merge(merge(GAME, FACES), merge(AS_THE_DATA, {"run": {"iterations": iterations, "checkpoint_every": 4}}))
        return check_table(table, registry(), name="faces")

    run = train(recipe(8), registry(), tmp_path / "run", device=CPU)
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    _, header = read_tensors(checkpoints(tmp_path / "run")[-1], sealed=True)
    assert header["labels"] == {"0,0,1": 50, "0,1,0": 40, "1,0,0": 5, "1,0,1": 1}
    assert environment["class_counts"] == environment["class_names"] == []
    monkeypatch.setattr("tests.probe.labeled.Faces.load", lambda *_: pytest.fail("the images were read"))
    opened = open_run(tmp_path / "run", registry(), CPU)
    assert same(run, opened) == []
    assert torch.equal(sample(opened, 9)[0], sample(run, 9)[0])


def test_labels_come_from_a_frozen_causal_model_and_its_code_reaches_both_turns() -> None:
    run = steps(run_of(FACES, CAUSAL), 3)
    assert {"discriminator/cause", "generator/cause"} <= run.losses.keys()
    assert not [name for name in tensors_of(run) if "rates" in name]
    scores = Evaluator(run)()
    assert scores.protocols["asked"]["fake_labels"] == "of a causal model"
    assert abs(scores.values["asked/asked"][0] - 1800) < 60
    before = run.latent(40, "intervened")
    with torch.no_grad():
        run.networks["causal"].rates[0] = 0.0
    after = run.latent(40, "intervened")
    assert torch.equal(after.z, before.z)
    assert after.codes["cause"].sum() == 0 < before.codes["cause"].sum()


def test_a_class_can_not_be_asked_for_and_a_network_with_classes_of_its_own_is_welcome() -> None:
    plan_of(FACES, {"networks": {"annotator": {"use": "standard/small-cnn", "classes": 7, "weights": "w.safetensors"}}})
    with pytest.raises(GancoreError, match="has data with attributes, so no class can be asked for"):
        sample(run_of(FACES), 5, classes=[1])
