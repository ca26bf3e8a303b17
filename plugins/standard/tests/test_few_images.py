"""Scores of too few images come with a word, in the protocol that is kept and shown with them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_standard.metrics.frechet import FrechetDistance
from gancore_standard.metrics.histogram import ClassHistogram
from gancore_standard.metrics.inception_score import InceptionScore
from gancore_standard.metrics.intra_frechet import IntraClassFrechetDistance
from gancore_standard.metrics.kernel import KernelDistance
from gancore_standard.metrics.prdc import PrecisionRecall
from gancore_training.evaluate import Evaluator
from torch import Tensor

from tests.compose.hosts import run_of, steps

WIDTH = 12


def noise(number: int, width: int = WIDTH, seed: int = 0) -> Tensor:
    return torch.randn(number, width, generator=torch.Generator().manual_seed(seed))


def fed(metric: Any, real: int, fake: int) -> Any:
    metric.update_real(features=noise(real))
    metric.update(features=noise(fake, seed=1))
    metric.compute()
    return metric


@pytest.mark.parametrize("cls", [FrechetDistance, KernelDistance, PrecisionRecall])
@pytest.mark.parametrize(
    ("real", "fake", "said"),
    [
        (WIDTH, 50, "only 12 real images, fewer than 13: "),
        (50, WIDTH, "only 12 generated images, fewer than 13: "),
        (6, 7, "only 6 real images and only 7 generated images, fewer than 13: "),
        (WIDTH + 1, WIDTH + 1, ""),
    ],
)
def test_no_more_images_than_features_are_few(cls: Any, real: int, fake: int, said: str) -> None:
    warning = fed(cls(), real, fake).protocol().get("warning", "")
    assert bool(warning) == bool(said)
    assert warning.startswith(said)


@pytest.mark.parametrize("cls", [FrechetDistance, KernelDistance, PrecisionRecall])
def test_before_images_are_generated_there_is_nothing_to_warn_of(cls: Any) -> None:
    metric = cls()
    before = metric.protocol()
    metric.update_real(features=noise(6))
    # What is kept of real images lies under the protocol of this moment.
    assert metric.protocol() == before
    assert "warning" not in before


def test_known_statistics_warn_as_the_images_do() -> None:
    first, second = fed(FrechetDistance(), 6, 50), FrechetDistance()
    second.load_real_state(first.real_state())
    second.update(features=noise(50, seed=1))
    assert second.protocol()["warning"] == first.protocol()["warning"]


@pytest.mark.parametrize("few", ["real", "generated"])
def test_the_class_with_fewest_images_is_named(few: str) -> None:
    metric = IntraClassFrechetDistance(classes=3, class_counts=[1, 1, 1])
    counts = {side: [20, 13 if side != few else 5, 20] for side in ("real", "generated")}
    labels = {side: torch.arange(3).repeat_interleave(torch.tensor(numbers)) for side, numbers in counts.items()}
    assert "warning" not in metric.protocol()
    metric.update_real(features=noise(len(labels["real"])), labels=labels["real"])
    metric.update(features=noise(len(labels["generated"]), seed=1), labels=labels["generated"])
    assert metric.protocol()["warning"].startswith(f"only 5 {few} images of class 1, fewer than 13: a covariance is singular")


def test_an_inception_score_of_fewer_images_a_split_than_classes_comes_with_a_word() -> None:
    for number, said in ((39, "only 39 generated images, fewer than 40: "), (40, "")):
        metric = InceptionScore(splits=4)
        metric.update(logits=noise(number, 10))
        metric.compute()
        assert metric.protocol().get("warning", "").startswith(said)
        assert ("warning" in metric.protocol()) == bool(said)


def test_a_histogram_of_fewer_images_than_classes_comes_with_a_word() -> None:
    for number, said in ((9, "only 9 generated images, fewer than 10: "), (10, "")):
        metric = ClassHistogram()
        metric.update(logits=noise(number, 10))
        assert metric.protocol().get("warning", "").startswith(said)
        assert ("warning" in metric.protocol()) == bool(said)


def test_an_evaluation_keeps_the_warning_with_the_score() -> None:
    table: dict[str, Any] = {
        "networks": {"annotator": {"use": "host/classifier"}},
        "metrics": {"fid": {"use": "standard/fid", "network": "annotator"}},
        "evaluation": {"samples": 5},
    }
    scores = Evaluator(steps(run_of(table), 1))()
    assert "only 5 generated images" in scores.protocols["fid"]["warning"]
    assert scores.warnings == [f"warning: fid: {scores.protocols['fid']['warning']}"]
