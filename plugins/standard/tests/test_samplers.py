"""The samplers of core: counts and choices against the published code's vectors, and what they promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from gancore_standard.datasets import Cifar10, Digits, Mnist
from gancore_standard.samplers import ClassBalanced, LongTail, PerClass, TakeClasses, long_tail_counts
from torch import Tensor

from gancore import GancoreError
from gancore.contract.settings import check
from gancore.engine.batches import IndexStream

Parity = Callable[[str], dict[str, Any]]

LARGEST = {10: 5000, 100: 500, 5: 50_000}
CIFAR10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


@pytest.fixture
def labels() -> Tensor:
    """Ten classes of 20, 19, ... 11 items, in a fixed mixed order."""
    ordered = torch.repeat_interleave(torch.arange(10), torch.arange(20, 10, -1))
    return ordered[torch.randperm(len(ordered), generator=torch.Generator().manual_seed(5))]


# -- counts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [5, 10, 100])
@pytest.mark.parametrize("ratio", [1, 10, 50, 100, 200])
def test_exponential_counts_are_those_of_the_published_code(parity: Parity, classes: int, ratio: int) -> None:
    expected = parity("longtail_counts")[f"K{classes}_exp_{1 / ratio}"]
    assert long_tail_counts(classes, LARGEST[classes], ratio, "exponential") == expected.tolist()


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("ratio", [1, 10, 50, 100, 200])
def test_step_counts_are_those_of_the_published_code(parity: Parity, classes: int, ratio: int) -> None:
    expected = parity("longtail_counts")[f"K{classes}_step_{1 / ratio}"]
    assert long_tail_counts(classes, LARGEST[classes], ratio, "step") == expected.tolist()


def test_an_odd_number_of_classes_has_the_larger_half_rare() -> None:
    assert long_tail_counts(5, 50_000, 100, "step") == [50_000, 50_000, 500, 500, 500]


def test_the_counts_of_a_set_that_does_not_divide_evenly_are_rounded_down_only_at_the_end() -> None:
    # 8 * 0.5^(1/2) = 5.66 would be 5 too, but 8.9 * 0.5^(1/2) = 6.29 is not.
    assert long_tail_counts(3, 8.9, 2) == [8, 6, 4]


def test_a_single_class_keeps_all_it_may() -> None:
    assert long_tail_counts(1, 7, 10) == [7]
    assert long_tail_counts(1, 7, 10, "step") == [7]


@pytest.mark.parametrize(("classes", "largest", "ratio"), [(0, 10, 2), (3, 0, 2), (3, 10, 0.5), (3, 10, float("nan"))])
def test_counts_out_of_range_are_refused(classes: int, largest: float, ratio: float) -> None:
    with pytest.raises(GancoreError, match="A long tail needs classes >= 1, largest > 0 and ratio >= 1"):
        long_tail_counts(classes, largest, ratio)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(GancoreError, match="not 'pareto'"):
        long_tail_counts(3, 10, 2, "pareto")  # type: ignore[arg-type]


# -- long tail ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", ["0.1", "0.01", "1.0"])
def test_the_long_tail_is_item_for_item_that_of_the_published_code(parity: Parity, factor: str) -> None:
    vectors = parity("longtail_counts")
    targets = torch.from_numpy(vectors["toy_full_targets"])
    chosen = LongTail(ratio=1 / float(factor)).select(targets, seed=123)
    assert chosen.dtype == torch.int64
    assert chosen.tolist() == vectors[f"toy_idx_f{factor}"].tolist()
    assert targets[chosen].tolist() == vectors[f"toy_targets_f{factor}"].tolist()


def test_the_long_tail_of_50000_items_is_that_of_the_published_code(parity: Parity) -> None:
    vectors = parity("longtail_counts")
    chosen = LongTail(ratio=100).select(torch.arange(50_000) % 10, seed=0)
    assert len(chosen) == vectors["mod10_50000_f0.01_len"]
    assert chosen[:20].tolist() == vectors["mod10_50000_f0.01_first20idx"].tolist()
    assert chosen[-20:].tolist() == vectors["mod10_50000_f0.01_last20idx"].tolist()
    assert chosen.sum() == vectors["mod10_50000_f0.01_sum"]


@pytest.mark.data
def test_cifar10_with_ratio_100_has_the_standard_counts(data_root: Path) -> None:
    _, labels = Cifar10(root=str(data_root)).load("train")
    chosen = LongTail(ratio=100).select(labels, seed=3)
    assert labels[chosen].bincount().tolist() == CIFAR10_LT
    assert len(set(chosen.tolist())) == sum(CIFAR10_LT)


@pytest.mark.data
def test_mnist_gives_a_class_that_is_too_small_whole(data_root: Path) -> None:
    _, labels = Mnist(root=str(data_root)).load("train")
    counts = labels[LongTail(ratio=100).select(labels, seed=0)].bincount().tolist()
    # 60 000 / 10 = 6000 are wanted of class 0, which has 5923.
    assert counts == [5923, 3596, 2156, 1292, 774, 464, 278, 166, 100, 60]


def test_digits_become_long_tailed() -> None:
    _, labels = Digits().load("train")
    counts = labels[LongTail(ratio=10).select(labels, seed=0)].bincount()
    expected = np.floor(144.2 * 10 ** (-np.arange(10) / 9)).astype(int)
    expected[0] = 143  # all that there are
    assert counts.tolist() == expected.tolist()


def test_the_long_tail_does_not_depend_on_the_runs_seed_but_on_its_own(labels: Tensor) -> None:
    first = LongTail(ratio=5).select(labels, seed=1)
    assert torch.equal(first, LongTail(ratio=5).select(labels, seed=2))
    other = LongTail(ratio=5, seed=1).select(labels, seed=1)
    assert not torch.equal(first, other)
    assert torch.equal(labels[first], labels[other])


def test_reversed_order_makes_the_last_class_the_most_frequent(labels: Tensor) -> None:
    counts = labels[LongTail(ratio=10, order="reversed", n_max=10).select(labels, seed=0)].bincount().tolist()
    assert counts == long_tail_counts(10, 10, 10)[::-1]


def test_n_max_sets_the_largest_class(labels: Tensor) -> None:
    counts = labels[LongTail(ratio=4, n_max=8).select(labels, seed=0)].bincount().tolist()
    assert counts[0] == 8
    assert counts[-1] == 2


def test_the_profile_covers_the_classes_that_earlier_samplers_left() -> None:
    labels = torch.tensor([3, 7] * 40)
    chosen = LongTail(ratio=10, profile="step").select(labels, seed=0)
    assert labels[chosen].bincount(minlength=10)[[3, 7]].tolist() == [40, 4]


def test_selecting_from_nothing_leaves_nothing() -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    assert LongTail().select(nothing, seed=0).dtype == torch.int64
    assert len(LongTail().select(nothing, seed=0)) == 0


def test_selecting_leaves_numpys_global_stream_alone(labels: Tensor) -> None:
    np.random.seed(9)
    expected = np.random.random()
    np.random.seed(9)
    LongTail().select(labels, seed=0)
    assert np.random.random() == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 0.5}, "ratio must be a number at least 1"),
        ({"profile": "steps"}, "did you mean 'step'"),
        ({"order": "random"}, "one of 'label', 'reversed'"),
        ({"n_max": 0}, "n_max must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_wrong_settings_of_a_long_tail_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(GancoreError, match=message):
        check(LongTail, settings, where="test")


# -- per class ---------------------------------------------------------------------------------------------------------


def test_per_class_keeps_so_many_distinct_items_of_each_class(labels: Tensor) -> None:
    chosen = PerClass(count=11).select(labels, seed=0)
    assert labels[chosen].bincount().tolist() == [11] * 10
    assert len(set(chosen.tolist())) == 110


def test_per_class_follows_the_runs_seed_unless_it_has_its_own(labels: Tensor) -> None:
    def choice(seed: int, own: int | None = None) -> list[int]:
        return PerClass(count=3, seed=own).select(labels, seed=seed).tolist()

    assert choice(1) == choice(1)
    assert choice(1) != choice(2)
    assert choice(1, own=4) == choice(2, own=4) == choice(4)


def test_a_class_with_too_few_images_is_named(labels: Tensor) -> None:
    with pytest.raises(GancoreError, match=r"Class 9 has only 11 images, but count = 12"):
        PerClass(count=12).select(labels, seed=0)


def test_no_image_per_class_is_refused() -> None:
    with pytest.raises(GancoreError, match="at least 1, not 0"):
        PerClass(count=0)


# -- balance and subsets -----------------------------------------------------------------------------------------------


def test_balanced_weights_add_up_to_one_for_each_class(labels: Tensor) -> None:
    weights = ClassBalanced().weights(labels)
    assert weights.dtype == torch.float64
    assert weights.shape == labels.shape
    totals = torch.zeros(10, dtype=torch.float64).scatter_add_(0, labels, weights)
    torch.testing.assert_close(totals, torch.ones(10, dtype=torch.float64))


def test_balanced_draws_give_a_rare_class_its_share() -> None:
    labels = torch.tensor([0] * 990 + [1] * 10)
    stream = IndexStream(len(labels), 4000, seed=0, weights=ClassBalanced().weights(labels))
    frequency = labels[stream.indices(0)].double().mean().item()
    assert abs(frequency - 0.5) < 4 * 0.5 / 4000**0.5  # four standard errors of a fair coin


def test_balanced_weights_bear_a_class_without_images() -> None:
    assert ClassBalanced().weights(torch.tensor([0, 2, 2])).tolist() == [1.0, 0.5, 0.5]
    assert len(ClassBalanced().weights(torch.empty(0, dtype=torch.int64))) == 0


def test_balance_leaves_no_image_out(labels: Tensor) -> None:
    assert ClassBalanced().select(labels, seed=0).tolist() == list(range(len(labels)))


def test_take_classes_keeps_the_items_of_its_classes_in_order() -> None:
    assert TakeClasses(keep=[2, 0]).select(torch.tensor([0, 1, 2, 1, 2, 0]), seed=0).tolist() == [0, 2, 4, 5]


@pytest.mark.parametrize(
    ("keep", "message"), [([10], "class 10, but the classes are 0 to 9"), ([-1], "class -1"), ([], "no class")]
)
def test_classes_out_of_range_are_refused_before_any_label_is_seen(keep: list[int], message: str) -> None:
    with pytest.raises(GancoreError, match=message):
        TakeClasses(keep=keep, classes=10)


def test_a_class_without_images_cannot_be_kept() -> None:
    with pytest.raises(GancoreError, match=r"class 5, but there is no image of it \(classes found: \[0, 1\]\)"):
        TakeClasses(keep=[5]).select(torch.tensor([0, 1]), seed=0)


@pytest.mark.parametrize("profile", ["exponential", "step"])
def test_samplers_compose_take_classes_then_long_tail(labels: Tensor, profile: Literal["exponential", "step"]) -> None:
    chosen = TakeClasses(keep=[1, 4]).select(labels, seed=0)
    tail = LongTail(ratio=4, profile=profile, n_max=12).select(labels[chosen], seed=0)
    assert labels[chosen[tail]].bincount(minlength=5).tolist() == [0, 12, 0, 0, 3]
