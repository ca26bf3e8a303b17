"""Samples and scores are drawn from the latents of a recipe."""

from __future__ import annotations

import pytest
import torch
from gancore_training.evaluate import Evaluator
from gancore_training.sampling import sample

from gancore import GancoreError
from tests.engine.test_latents import MIXTURE, SCORED, TAIL, TWO_CLASSES, assert_of_the_mixture, seen_by
from tests.hosts import plan_of, run_of, steps


def test_samples_keep_the_labels_that_their_latents_go_with() -> None:
    run = run_of(MIXTURE)
    calls = seen_by(run.generator())
    _, label = sample(run, 12)
    assert_of_the_mixture(run, calls)
    assert torch.equal(label, calls[0][1])
    with pytest.raises(GancoreError, match="labels of their own, so no class can be asked for"):
        sample(run, 12, classes=[3])


def test_an_evaluation_draws_from_the_recipes_latents_and_says_how_its_labels_were_made() -> None:
    run = run_of(MIXTURE, SCORED)
    calls = seen_by(run.generator())
    scores = Evaluator(run)()
    assert len(calls) == 2
    assert_of_the_mixture(run, calls)
    assert scores.protocols["histogram"]["fake_labels"] == "of the components"
    assert Evaluator(run_of(SCORED))().protocols["histogram"]["fake_labels"] == "uniform"


def test_a_score_reads_codes_beside_the_images() -> None:
    table = {"metrics": {"doubled": {"use": "probe/doubled"}}, "evaluation": {"samples": 30, "batch_size": 12}}
    assert Evaluator(run_of(MIXTURE, table))().values == {"doubled/rows": 30, "doubled/agree": 1.0}
    with pytest.raises(GancoreError, match="asks for 'twice' in its update, where this recipe has features, images, labels"):
        plan_of(table)


def test_a_class_that_never_occurs_is_asked_for_nowhere() -> None:
    run = run_of(TWO_CLASSES, SCORED)
    calls = seen_by(run.networks["generator"]), seen_by(run.generator())
    steps(run, 2)
    evaluator = Evaluator(run)
    protocol = evaluator().protocols["histogram"]
    _, sampled = sample(run, 5)
    asked = torch.cat([label for seen in calls for _, label in seen])
    assert asked.unique().tolist() == [1, 7]
    assert sampled.tolist() == [1, 7, 1, 7, 1]
    assert protocol["fake_labels"].startswith("uniform over the 2 labels that occur (")
    others = {"samplers": {"some": {"keep": [1, 8]}}}
    assert Evaluator(run_of(TWO_CLASSES, SCORED, others))().protocols["histogram"]["id"] != protocol["id"]
    with pytest.raises(GancoreError, match="there is no image of class 3 among the training data of test, only of 1, 7"):
        sample(run, 5, classes=[1, 3])


def test_labels_are_as_frequent_as_in_the_data_where_a_recipe_says_so() -> None:
    run = run_of(TAIL, SCORED, {"latent": {"use": "standard/normal", "labels": "data"}})
    counts = torch.tensor(run.batches.class_counts)
    shares = run.latent(20_000, "many").label.bincount(minlength=10) / 20_000
    assert counts[0] > 10 * counts[9]
    assert (shares - counts / counts.sum()).abs().max() < 0.01
    # Samples are a grid of the classes all the same.
    assert sample(run, 10)[1].tolist() == list(range(10))
    ids = [Evaluator(run)().protocols["histogram"]]
    ids += [Evaluator(run_of(SCORED, change))().protocols["histogram"] for change in (TAIL, {"latent": {"labels": "data"}})]
    assert len({protocol["id"] for protocol in ids}) == 3
    assert ids[0]["fake_labels"].startswith("as in the data (")
    assert ids[1]["fake_labels"] == "uniform"
