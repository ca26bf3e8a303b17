"""Scores: one stream of generated images for all metrics, and a protocol with every value."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_training.evaluate import Evaluator
from gancore_training.sampling import sample
from gancore_training.state import tensors_of

from gancore import GancoreError
from gancore.engine.batches import to_uint8, to_unit
from gancore.files import fingerprint
from tests.hosts import BALANCE, run_of, same, steps

METRICS: dict[str, Any] = {
    "networks": {"annotator": {"use": "host/classifier"}},
    "metrics": {
        "classes": {"use": "standard/class-histogram", "network": "annotator"},
        "fid": {"use": "standard/fid", "network": "annotator"},
    },
    "evaluation": {"samples": 130, "batch_size": 50},
}


def test_one_stream_feeds_every_metric_and_the_values_are_those_of_the_images() -> None:
    run = steps(run_of(METRICS), 2)
    calls: list[int] = []
    generator = run.generator()
    generator.register_forward_hook(lambda _m, inputs, _o: calls.append(len(inputs[0])))
    scores = Evaluator(run)()
    assert calls == [50, 50, 30]
    images = []
    for start, number in ((0, 50), (50, 50), (100, 30)):
        drawn = run.latent(number, "evaluation", 0, start)
        images.append(to_unit(to_uint8(generator(drawn.z, drawn.label))))
    annotator, fake = run.networks["annotator"], torch.cat(images)
    counts = torch.bincount(annotator(fake).argmax(1), minlength=10)
    assert scores.values["classes/histogram"] == pytest.approx((counts / 130).tolist())
    means = [annotator.embed(x).detach().mean(0) for x in (to_unit(run.plan.dataset.load("test")[0]), fake)]
    assert scores.values["fid/fid"] == pytest.approx(float((means[0] - means[1]).square().sum()), rel=1e-4)


def test_a_metric_of_the_whole_run_is_scored_beside_those_of_images() -> None:
    whole: dict[str, Any] = {"metrics": {"whole": {"use": "probe/whole"}}}
    scores = Evaluator(steps(run_of(METRICS, whole), 2))()
    assert scores.values.pop("whole/iteration") == 2
    # The other scores are those without it.
    assert scores.values == Evaluator(steps(run_of(METRICS), 2))().values
    assert "samples" not in scores.protocols["whole"]
    with pytest.raises(GancoreError, match=r"^test: metrics\.whole \(probe/whole\): there is no annotator"):
        Evaluator(run_of(whole))


def test_an_evaluation_leaves_the_run_as_it_was_and_repeats_to_the_last_bit() -> None:
    run = steps(run_of(METRICS), 2)
    before = {name: value.clone() for name, value in tensors_of(run).items()}
    evaluator = Evaluator(run)
    first = evaluator()
    torch.randn(3)
    assert evaluator().values == first.values == Evaluator(run)().values
    assert all(torch.equal(before[name], value) for name, value in tensors_of(run).items())
    assert run.networks["generator"].training


def test_every_value_carries_its_protocol_and_an_id_that_changes_with_it() -> None:
    scores = Evaluator(run_of(METRICS))()
    protocol = scores.protocols["fid"]
    assert protocol["samples"] == 130
    assert protocol["real_images"] == 360
    assert protocol["real_split"] == "test"
    assert protocol["weights"] == "ema"
    assert protocol["batch_norm"] == "eval"
    assert len(protocol["network_hash"]) == 12
    ids = {protocol["id"]}
    changes: list[dict[str, Any]] = [
        {"evaluation": {"samples": 131}},
        {"evaluation": {"seed": 1}},
        {"evaluation": {"weights": "live"}},
        {"evaluation": {"split": "train"}},
        {"run": {"seed": 1}},  # other weights of the untrained annotator
        {"data": {"image_size": 16}},
    ]
    for change in changes:
        ids.add(Evaluator(run_of(METRICS, change))().protocols["fid"]["id"])
    assert len(ids) == 7
    longer = Evaluator(run_of(METRICS, {"run": {"iterations": 99, "batch_size": 3}}))()
    assert longer.protocols["fid"] == protocol


def test_real_statistics_are_computed_once() -> None:
    run = run_of(METRICS)
    loads: list[str] = []
    load = run.plan.dataset.load
    run.plan.dataset.load = lambda split: (loads.append(split), load(split))[1]  # type: ignore[method-assign, func-returns-value]
    evaluator = Evaluator(run)
    evaluator()
    evaluator()
    # Of the training images the labels are asked for, which say what the generator may be asked for.
    assert sorted(loads) == ["test", "train"]


def test_a_score_trains_a_classifier_on_images_of_its_own_and_leaves_the_run_as_it_was() -> None:
    table = {
        "metrics": {"learned": {"use": "probe/learned"}},
        "networks": {"generator": {"use": "standard/sndcgan-generator", "conditional": True}},
    }
    run, untouched = run_of(table), run_of(table)
    random = torch.get_rng_state()
    scores = [Evaluator(run)().values["learned/accuracy"] for _ in range(2)]
    data = {"latent": {"use": "standard/normal", "labels": "data"}}
    protocols = [Evaluator(run_of(table, change))().protocols["learned"] for change in ({}, data)]
    assert protocols[0]["fake_labels"] == "uniform"
    assert protocols[0]["id"] != protocols[1]["id"]
    assert scores[0] == scores[1] == Evaluator(untouched)().values["learned/accuracy"]
    assert torch.equal(random, torch.get_rng_state())
    assert same(run, untouched) == []
    assert same(steps(run, 2), steps(run_of(table), 2)) == []


def test_a_component_beside_the_recipe_has_what_core_knows_and_weights_of_its_seed() -> None:
    run = run_of()
    first, again, second = (run.build("network", "small-cnn", {"width": 0.5}, seed=seed).linear.weight for seed in (1, 1, 2))
    assert first.shape[0] == 10
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    for use, settings, sentence in (
        ("small-cmm", {}, "test: a network beside the recipe uses the network 'small-cmm', which does not exist"),
        ("small-cnn", {"depth": 3}, r"a network beside the recipe \(standard/small-cnn\) has no setting 'depth'"),
        ("small-cnn", {"width": 0}, r"a network beside the recipe \(standard/small-cnn\): width must be a number above 0"),
    ):
        with pytest.raises(GancoreError, match=sentence):
            run.build("network", use, settings)


def test_only_the_metrics_asked_for_are_computed() -> None:
    scores = Evaluator(run_of(METRICS), ["classes"])()
    assert {name.split("/")[0] for name in scores.values} == {"classes"}
    with pytest.raises(GancoreError, match=r"has no metric 'fidd'.*did you mean 'fid'"):
        Evaluator(run_of(METRICS), ["fidd"])


def test_the_annotators_fingerprint_changes_with_any_weight() -> None:
    network = run_of(METRICS).networks["annotator"]
    before = fingerprint(network)
    with torch.no_grad():
        network.linear.bias[0] += 1e-6
    assert fingerprint(network) != before


def test_samples_ask_for_the_classes_in_turn_and_are_a_function_of_the_seed() -> None:
    run = run_of(BALANCE, {"networks": {"generator": {"use": "standard/sndcgan-generator", "conditional": True}}})
    images, labels = sample(run, 7, [3, 5])
    assert labels.tolist() == [3, 5, 3, 5, 3, 5, 3]
    assert images.shape == (7, 1, 8, 8)
    assert torch.equal(images, sample(run, 7, [3, 5])[0])
    assert not torch.equal(images, sample(run, 7, [3, 5], seed=1)[0])
    with pytest.raises(
        GancoreError,
        match="there is no class 10: the data have the classes 0 to 9",
    ):
        sample(run, 7, [10])


def test_a_network_that_sees_images_otherwise_scores_by_another_protocol() -> None:
    scores = []
    for mean in (0.5, 0.1):
        keys = {"networks": {"annotator": {"input_mean": [mean], "input_std": [0.5]}}}
        scores.append(Evaluator(run_of(METRICS, keys))())
    assert scores[0].protocols["fid"]["id"] != scores[1].protocols["fid"]["id"]
