"""What lies beside the samples of a training: which class each shows, who says so, and real images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training.evaluate import Evaluator
from gancore_training.sample_classes import annotator_of, classes_of, describe, real_images
from gancore_training.sampling import sample
from gancore_training.trainer import train

from gancore.engine.run import Run
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from tests.compose.hosts import CPU, GAME, registry, run_of

ANNOTATED: dict[str, Any] = {
    "networks": {"annotator": {"use": "host/classifier"}},
    "metrics": {"classes": {"use": "standard/class-histogram"}},
    "evaluation": {"samples": 20},
}


def facts_of(run: Run) -> dict[str, Any]:
    images, labels = sample(run, 16)
    return classes_of(run, images, labels, annotator_of(Evaluator(run).metrics if run.plan.metrics else {}))


def test_samples_of_a_generator_without_classes_are_called_what_the_annotator_sees() -> None:
    run = run_of(ANNOTATED)
    facts = facts_of(run)
    images, _ = sample(run, 16)
    network = run.networks["annotator"].eval()
    assert facts["labels"] == network.classify(network.embed(images)).argmax(1).tolist()
    assert facts["labels_by"] == "the class that the network 'annotator' sees in them"


def test_samples_of_a_generator_that_obeys_classes_are_called_what_was_asked_for() -> None:
    run = run_of(
        ANNOTATED, {"networks": {"generator": {"use": "standard/sndcgan-generator", "width": 0.05, "conditional": True}}}
    )
    assert facts_of(run) == {"labels": [k % 10 for k in range(16)], "labels_by": "the class that was asked for"}


def test_where_nobody_knows_the_classes_none_are_told() -> None:
    assert facts_of(run_of()) == {}


def test_a_look_at_the_samples_changes_nothing(tmp_path: Path) -> None:
    tables = [merge(merge(GAME, ANNOTATED), {"run": {"sample_every": every, "evaluate_every": 0}}) for every in (0, 2)]
    runs = [
        train(check_table(t, registry(), name="t"), registry(), tmp_path / str(n), device=CPU) for n, t in enumerate(tables)
    ]
    one, two = (run.tensors() for run in runs)
    assert all(torch.equal(one[name], two[name]) for name in one.keys() | two.keys())
    told = json.loads((tmp_path / "1" / "samples" / "00000002.json").read_text())
    assert told["columns"] == 8
    assert len(told["labels"]) == 64


def test_real_images_are_the_first_of_each_class_in_turn() -> None:
    run = run_of()
    images, facts = real_images(run)
    assert facts["labels"] == [*range(10)] * 6
    all_images, labels, _ = run.batches.selection
    third = (labels == 3).nonzero().flatten()
    torch.testing.assert_close(images[13], all_images[third[1]].float() / 127.5 - 1)


def test_a_class_of_few_images_leaves_its_later_turns_to_the_others() -> None:
    run = run_of({"samplers": {"few": {"use": "standard/long-tail", "ratio": 144.0}}})
    _, facts = real_images(run)
    counts = [facts["labels"].count(label) for label in range(10)]
    assert counts[0] == 6
    assert counts[9] == run.batches.class_counts[9] == 1


@pytest.mark.parametrize(("shape", "columns"), [((4, 1, 8, 8), {"columns": 8}), ((4, 2, 1, 1), {})])
def test_points_are_no_grid(tmp_path: Path, shape: tuple[int, ...], columns: dict[str, int]) -> None:
    describe(tmp_path / "x.png", torch.zeros(shape), {"labels": [1]})
    assert json.loads((tmp_path / "x.json").read_text()) == {**columns, "labels": [1]}
