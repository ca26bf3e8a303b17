"""The detector of unseen classes and its score."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from gancore_dsgan.novelty import Novelty, auroc
from scipy import stats
from torch import Tensor

from gancore import GancoreError
from gancore.contract.settings import check

CORE = {"classes": 3, "channels": 1, "image_size": 8}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bars(number: int, seed: int, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Images (number, 1, 8, 8) in [-1, 1] of three classes: which rows are bright says which; and their labels."""
    labels = torch.arange(number) % 3 if labels is None else labels
    rows = torch.arange(8)[None, :] // 3 == labels[:, None]
    images = 0.2 * noise(number, 1, 8, 8, seed=seed) - 0.5 + rows[:, None, :, None].float()
    return images.clamp(-1, 1), labels


def novelty(**settings: Any) -> Novelty:
    small = {"seen": [0], "detector_iterations": 30, "detector_batch_size": 20, "width": 0.3}
    return Novelty(**{**CORE, **small, **settings})


def fed(metric: Novelty, generated: Tensor, real: tuple[Tensor, Tensor] | None = None) -> Novelty:
    images, labels = bars(300, seed=99) if real is None else real
    for start in range(0, len(labels), 70):
        metric.update_real(images=images[start : start + 70], labels=labels[start : start + 70])
    for batch in generated.split(32):
        metric.update(images=batch)
    return metric


# -- area under the curve ----------------------------------------------------------------------------------------------


def brute(positive: Tensor, negative: Tensor) -> float:
    apart = positive.double()[:, None] - negative.double()[None, :]
    return float(((apart > 0).double() + (apart == 0).double() / 2).mean())


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_the_share_of_pairs_in_order(seed: int) -> None:
    positive, negative = noise(40, seed=seed) + 0.5, noise(70, seed=100 + seed)
    assert auroc(positive, negative) == pytest.approx(brute(positive, negative), abs=1e-14)
    statistic = stats.mannwhitneyu(positive.numpy(), negative.numpy()).statistic
    assert auroc(positive, negative) == pytest.approx(statistic / (40 * 70), abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_equal_scores_count_half(seed: int) -> None:
    positive, negative = (noise(50, seed=seed) * 2).round(), (noise(30, seed=50 + seed) * 2).round()
    assert auroc(positive, negative) == pytest.approx(brute(positive, negative), abs=1e-14)
    assert auroc(torch.zeros(4), torch.zeros(9)) == 0.5


def test_the_area_of_perfect_reversed_and_infinite_scores() -> None:
    low, high = torch.arange(5), torch.arange(5, 12)
    assert auroc(high, low) == 1
    assert auroc(low, high) == 0
    assert auroc(torch.tensor([float("inf"), 1.0]), torch.tensor([-float("inf"), 1.0])) == 0.875
    # Differences that float32 would lose.
    close = torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64)
    assert auroc(close[1:], close[:1]) == 1


def test_an_area_without_scores_of_both_kinds_is_refused() -> None:
    with pytest.raises(GancoreError, match="got 0 positive and 3 negative ones"):
        auroc(torch.zeros(0), torch.zeros(3))
    with pytest.raises(GancoreError, match="got 3 positive and 0 negative ones"):
        auroc(torch.zeros(3), torch.zeros(0))
    with pytest.raises(GancoreError, match="some are not"):
        auroc(torch.tensor([float("nan")]), torch.zeros(3))


# -- detector ----------------------------------------------------------------------------------------------------------


def test_a_generator_of_the_unseen_classes_makes_a_perfect_detector() -> None:
    unseen, _ = bars(120, seed=1, labels=1 + torch.arange(120) % 2)
    assert fed(novelty(), unseen).compute() == {"auroc": pytest.approx(1, abs=1e-3)}
    assert novelty().better == {"auroc": "higher"}


def test_a_detector_of_classes_that_do_not_differ_is_useless() -> None:
    images = 0.3 * noise(1200, 1, 8, 8, seed=3)
    labels = torch.arange(1200) % 3
    score = fed(novelty(), noise(100, 1, 8, 8, seed=4).clamp(-1, 1), (images, labels)).compute()["auroc"]
    # 200 seen against 800 unseen images: a standard deviation of 0.023.
    assert score == pytest.approx(0.5, abs=0.1)


def test_a_generator_of_the_data_to_avoid_makes_a_worse_detector_than_one_of_the_others() -> None:
    avoided, _ = bars(120, seed=1, labels=torch.zeros(120, dtype=torch.int64))
    wanted, _ = bars(120, seed=1, labels=torch.full((120,), 2))
    bad, good = (fed(novelty(), images).compute()["auroc"] for images in (avoided, wanted))
    assert bad < 0.9 < good


def test_the_score_is_a_function_of_the_images_and_leaves_the_random_state_alone() -> None:
    generated, _ = bars(60, seed=2, labels=torch.arange(60) % 3)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    metric = fed(novelty(detector_iterations=3), generated)
    first = metric.compute()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    with torch.no_grad():
        assert metric.compute() == first
    assert fed(novelty(detector_iterations=3), generated).compute() == first
    assert fed(novelty(detector_iterations=3, seed=1), generated).compute() != first


def test_half_of_each_seen_class_trains_and_the_rest_tests() -> None:
    images, labels = bars(30, seed=0)
    metric = fed(novelty(seen=[2, 0]), images[:1], (images, labels))
    training, familiar, novel = metric._divided(torch.device("cpu"))
    held = torch.cat([images for images, _ in metric._real])
    # Of 0, 3, 6, ... and of 2, 5, 8, ... every other one: by turns in each class, though places in the set alternate too.
    assert torch.equal(training, held[[n for n in range(30) if n % 3 != 1 and n // 3 % 2 == 0]])
    assert torch.equal(familiar, held[[n for n in range(30) if n % 3 != 1 and n // 3 % 2 == 1]])
    assert torch.equal(novel, held[1::3])


def test_a_reset_forgets_the_generated_images_and_keeps_the_real_ones() -> None:
    generated, _ = bars(60, seed=2)
    metric = fed(novelty(detector_iterations=2), generated)
    first = metric.compute()
    metric.reset()
    with pytest.raises(GancoreError, match="needs generated images"):
        metric.compute()
    metric.update(images=generated)
    assert metric.compute() == first


def test_small_sets_are_repeated_until_the_training_ends() -> None:
    images, labels = bars(9, seed=0)
    metric = fed(novelty(detector_iterations=4), images[:1], (images, labels))
    assert 0 <= metric.compute()["auroc"] <= 1


def test_everything_that_the_score_depends_on_is_in_the_protocol() -> None:
    base = novelty().protocol()
    assert json.dumps(base)
    changes = {"seen": [1], "detector_iterations": 1, "detector_batch_size": 2, "lr": 0.1, "width": 1.0, "seed": 1}
    for name, value in changes.items():
        assert novelty(**{name: value}).protocol() != base, name
    assert novelty(seen=[1, 0]).protocol() == novelty(seen=[0, 1]).protocol()


def test_settings_come_from_the_recipe_and_from_core() -> None:
    context = {**CORE, "iterations": 100_000, "batch_size": 3, "latent_dim": 8}
    metric = Novelty(**check(Novelty, {"seen": [1]}, where="x", context=context))
    assert (metric.iterations, metric.batch_size) == (500, 100)
    with pytest.raises(GancoreError, match="needs the setting 'seen'"):
        check(Novelty, {}, where="x", context=context)
    for settings in ({"lr": 0}, {"width": 0}, {"detector_batch_size": 1}, {"detector_iterations": 0}):
        with pytest.raises(GancoreError, match=next(iter(settings))):
            check(Novelty, {"seen": [1], **settings}, where="x", context=context)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seen": [3]}, r"seen = \[3\] holds 3, but the data have the classes 0 to 2"),
        ({"seen": [-1, 0]}, "holds -1"),
        ({"seen": [1, 1]}, "names a class twice"),
        ({"seen": []}, "leaves no class on one side"),
        ({"seen": [0, 1, 2]}, "leaves no class on one side"),
        ({"detector_batch_size": 7}, "can't be 7; set an even number"),
        ({"image_size": 7}, "8 pixels and more, and these have 7"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_training(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(GancoreError, match=words):
        novelty(**settings)


def test_images_that_do_not_suffice_are_refused() -> None:
    images, labels = bars(9, seed=0)
    metric = novelty()
    metric.update(images=images)
    with pytest.raises(GancoreError, match="needs real images, and there are none"):
        metric.compute()
    for chosen, words in (
        (labels > 0, "have none of seen classes;"),
        (labels < 1, "have none of unseen classes;"),
        (torch.arange(9) < 3, "have none of seen classes to test with;"),
    ):
        with pytest.raises(GancoreError, match=words):
            fed(novelty(), images, (images[chosen], labels[chosen])).compute()


def test_a_training_that_diverges_is_refused() -> None:
    images, _ = bars(30, seed=0)
    with pytest.raises(GancoreError, match=r"diverges at lr = 1e\+30; set a smaller lr"):
        fed(novelty(lr=1e30), images).compute()
