"""Intra-class Fréchet distance: against SciPy's matrix root, class by class, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from gancore_standard.metrics.intra_frechet import IntraClassFrechetDistance, groups_of
from safetensors.torch import load_file, save_file
from torch import Tensor

from gancore import GancoreError
from gancore.contract.settings import CONTEXT, check


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labeled(number: int, classes: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features of classes that differ in mean and spread, in an order that mixes them."""
    labels = torch.randperm(number, generator=torch.Generator().manual_seed(seed + 100)) % classes
    return (1 + 0.2 * labels[:, None]) * noise(number, width, seed=seed) + 0.5 * seed * labels[:, None], labels


def fed(metric: IntraClassFrechetDistance, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor], batch: int = 17) -> Any:
    for features, labels in zip(*(side.split(batch) for side in real), strict=True):
        metric.update_real(features=features, labels=labels)
    for features, labels in zip(*(side.split(batch) for side in fake), strict=True):
        metric.update(features=features, labels=labels)
    return metric


def by_scipy(a: Tensor, b: Tensor) -> float:
    x, y = a.double().numpy(), b.double().numpy()
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first + second - 2 * np.real(root)))


def test_the_distances_of_the_classes_and_groups_equal_those_of_scipys_matrix_root() -> None:
    counts = [500, 20, 300, 90, 5]
    real, fake = labeled(150, 5, 4, 1), labeled(127, 5, 4, 2)
    scores = fed(IntraClassFrechetDistance(classes=5, class_counts=counts), real, fake).compute()
    expected = [by_scipy(real[0][real[1] == k], fake[0][fake[1] == k]) for k in range(5)]
    assert scores["by_class"] == pytest.approx(expected, rel=1e-6)
    assert scores["intra_frechet"] == pytest.approx(np.mean(expected), rel=1e-6)
    # Of five classes one is the head, and one the tail.
    assert scores["head"] == pytest.approx(expected[0], rel=1e-6)
    assert scores["medium"] == pytest.approx(np.mean([expected[2], expected[3], expected[1]]), rel=1e-6)
    assert scores["tail"] == pytest.approx(expected[4], rel=1e-6)


def test_classes_that_no_image_was_trained_on_are_left_out() -> None:
    real, fake = labeled(150, 5, 4, 1), labeled(127, 5, 4, 2)
    asked = (fake[1] != 1) & (fake[1] != 2)
    scores = fed(
        IntraClassFrechetDistance(classes=5, class_counts=[500, 0, 0, 90, 5]), real, (fake[0][asked], fake[1][asked])
    ).compute()
    expected = [by_scipy(real[0][real[1] == k], fake[0][fake[1] == k]) for k in (0, 3, 4)]
    assert scores == {
        "intra_frechet": pytest.approx(np.mean(expected), rel=1e-6),
        **{name: pytest.approx(value, rel=1e-6) for name, value in zip(("head", "medium", "tail"), expected, strict=True)},
    }


def test_a_class_of_fewer_images_than_features_has_a_distance() -> None:
    # Means 3 apart in each of 50 features, and the same deviations: the distance is that of the means.
    features = noise(12, 50)
    labels = torch.arange(12) % 2
    metric = IntraClassFrechetDistance(classes=2, class_counts=[6, 6])
    scores = fed(metric, (features, labels), (features + 3 * labels[:, None], labels)).compute()
    assert scores == {
        "by_class": [pytest.approx(0, abs=1e-10), pytest.approx(450, rel=1e-5)],
        "intra_frechet": pytest.approx(225, rel=1e-5),
    }


def test_swapped_labels_are_seen_though_all_images_together_are_the_same() -> None:
    real = labeled(80, 2, 3, 3)
    metric = IntraClassFrechetDistance(classes=2, class_counts=[1, 1])
    assert fed(metric, real, real).compute()["intra_frechet"] == pytest.approx(0, abs=1e-10)
    metric.reset()
    metric.update(features=real[0], labels=1 - real[1])
    assert metric.compute()["intra_frechet"] > 1


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([50, 40, 30, 20, 10, 9, 8, 7, 6, 5], [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]]),
        ([5, 100, 20, 0], [[1], [2, 0], [3]]),
        ([1, 9, 9, 1, 1, 1], [[1, 2], [0, 3], [4, 5]]),  # among equals by their number
        ([1, 5, 3], [[1], [2], [0]]),
        ([10, 50, 49], [[1], [2], [0]]),
    ],
)
def test_the_groups_are_thirds_of_the_classes_by_their_training_images(counts: list[int], groups: list[list[int]]) -> None:
    assert groups_of(counts) == dict(zip(("head", "medium", "tail"), groups, strict=True))


@pytest.mark.parametrize("counts", [[100], [100, 1], [5, 5, 5], [49, 10, 30], [0, 0, 0]])
def test_balanced_sets_and_few_classes_have_no_groups(counts: list[int]) -> None:
    assert groups_of(counts) == {}


def test_too_few_images_of_a_class_are_refused_by_its_number() -> None:
    whole, labels = noise(9, 2), torch.arange(9) % 3
    for chosen, words in ((labels != 1, "class 1 has 0"), (torch.arange(9) < 5, "class 2 has 1")):
        some = whole[chosen], labels[chosen]
        metric = IntraClassFrechetDistance(classes=3, class_counts=[1, 1, 1])
        with pytest.raises(GancoreError, match=rf"'annotator': .* {words} of the real images; choose a larger split\.$"):
            fed(metric, some, (whole, labels)).compute()
        metric = IntraClassFrechetDistance(classes=3, class_counts=[1, 1, 1])
        with pytest.raises(GancoreError, match=rf"{words} of the generated images; raise evaluation\.samples\.$"):
            fed(metric, (whole, labels), some).compute()


def test_unusable_features_and_counts_are_refused() -> None:
    whole, labels = noise(6, 2), torch.arange(6) % 2
    with pytest.raises(GancoreError, match="of the generated images hold values that are not finite"):
        fed(IntraClassFrechetDistance(classes=2, class_counts=[1, 1]), (whole, labels), (whole / 0, labels)).compute()
    with pytest.raises(GancoreError, match="there are 0 of the real images"):
        IntraClassFrechetDistance(classes=2, class_counts=[1, 1]).compute()
    with pytest.raises(GancoreError, match="of 3 classes needs as many class_counts, not 2"):
        IntraClassFrechetDistance(classes=3, class_counts=[1, 1])


def test_kept_statistics_of_real_images_give_the_same_scores_to_the_last_bit(tmp_path: Path) -> None:
    counts = [50, 5, 1]
    real, fake = labeled(90, 3, 4, 1), labeled(80, 3, 4, 2)
    seen = fed(IntraClassFrechetDistance(classes=3, class_counts=counts), real, fake)
    save_file(seen.real_state(), tmp_path / "real.safetensors")
    stored = fed(IntraClassFrechetDistance(classes=3, class_counts=counts), fake, fake)
    stored.load_real_state(load_file(tmp_path / "real.safetensors"))
    assert stored.compute() == seen.compute()
    stored.load_real_state({})
    assert stored.real_state() == {}
    for state in ({"features": noise(3, 2)}, {"labels": noise(3)}, {"features": noise(3, 2), "labels": torch.zeros(2)}):
        with pytest.raises(GancoreError, match="don't have a label each; compute them anew"):
            stored.load_real_state(state)


def test_its_settings_come_from_core_and_a_missing_count_is_no_balanced_set() -> None:
    context = {"classes": 3, "class_counts": [9, 5, 1], "batch_size": 2}
    metric = IntraClassFrechetDistance(**check(IntraClassFrechetDistance, {}, where="x", context=context))
    assert metric.network == "annotator"
    assert set(metric.groups) == {"head", "medium", "tail"}
    assert "class_counts" in CONTEXT
    with pytest.raises(GancoreError, match="needs the setting 'class_counts'"):
        check(IntraClassFrechetDistance, {}, where="x", context={"classes": 3})
    assert all(isinstance(value, str) for value in metric.protocol().values())
