"""Images that others made are scored as a run's own are: the same images give the same values, to the last bit."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from gancore_training.evaluate import Evaluator
from gancore_training.given_images import GivenEvaluator, GivenImages, lacking
from torch import Tensor

import gancore
from gancore import GancoreError
from gancore.engine.batches import to_uint8
from gancore.engine.run import Run
from tests.hosts import run_of, steps
from tests.standin import metrics

METRICS: dict[str, Any] = {
    "networks": {"annotator": {"use": "host/classifier"}},
    "metrics": {
        "classes": {"use": "standard/class-histogram", "network": "annotator"},
        "fid": {"use": "standard/fid", "network": "annotator"},
        "whole": {"use": "probe/whole"},
    },
    "evaluation": {"samples": 130, "batch_size": 50},
}


def generated(run: Run) -> GivenImages:
    """The images that a run's evaluation generates, as files hold them."""
    drawn = [run.latent(number, "evaluation", 0, start) for start, number in ((0, 50), (50, 50), (100, 30))]
    images = torch.cat([to_uint8(run.generate(latents)) for latents in drawn])
    return GivenImages(images.contiguous(), torch.cat([latents.label for latents in drawn]))


@pytest.fixture(scope="module")
def run() -> Run:
    return steps(run_of(METRICS), 2)


def test_the_same_images_have_the_same_scores(run: Run) -> None:
    evaluator = GivenEvaluator(run, generated(run))
    scores, own = evaluator(), Evaluator(run, ["classes", "fid"])()
    assert scores.values == own.values
    assert scores.better == own.better
    assert evaluator.left_out == {"whole": "a run"}


def test_the_protocol_tells_what_files_do_and_no_more(run: Run) -> None:
    given, own = GivenEvaluator(run, generated(run))(), Evaluator(run, ["fid"])()
    protocol, of_run = given.protocols["fid"], own.protocols["fid"]
    unknown = {"sample_seed", "weights", "batch_norm", "fake_labels"}
    assert protocol.keys() == (of_run.keys() - unknown) | {"generated_by"}
    assert protocol["id"] != of_run["id"]
    assert {key: protocol[key] for key in protocol.keys() & of_run.keys() - {"id"}} == {
        key: of_run[key] for key in protocol.keys() & of_run.keys() - {"id"}
    }
    resized = GivenEvaluator(run, attrs.evolve(generated(run), resized=True), ["fid"])().protocols["fid"]
    assert resized["generated_by"] == "others, resized"
    assert resized["id"] != protocol["id"]


def test_metrics_that_need_more_than_images_are_refused_where_they_are_asked_for(run: Run) -> None:
    given = generated(run)
    with pytest.raises(GancoreError, match="the metric whole of test needs a run, which files do not hold"):
        GivenEvaluator(run, given, ["whole"])
    with pytest.raises(GancoreError, match=r"has no metric 'fidd'.*did you mean 'fid'"):
        GivenEvaluator(run, given, ["fidd"])
    with pytest.raises(GancoreError, match="has no metric of images alone"):
        GivenEvaluator(run_of({"metrics": {"whole": {"use": "probe/whole"}}}, METRICS | {"metrics": {}}), given)


def test_what_a_metric_lacks_is_what_it_cannot_do_without() -> None:
    class OfCodes(gancore.Metric):
        def update(self, *, images: Tensor, component: Tensor, labels: Tensor | None = None) -> None: ...

    assert lacking(OfCodes, {"images"}) == "component"
    assert lacking(metrics.ClassHistogram, {"images", "logits"}) == ""
    assert lacking(gancore.Metric, {"images"}) == "a run"


def test_a_network_that_the_recipe_trains_is_not_read_untrained(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "iteration", 0)
    monkeypatch.setattr(run, "plan", attrs.evolve(run.plan, players=(*run.plan.players, "annotator")))
    assert "annotator" in run.plan.players
    with pytest.raises(GancoreError, match="reads the network annotator, which the recipe trains; name a run"):
        GivenEvaluator(run, generated(run))
