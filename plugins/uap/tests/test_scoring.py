"""Fooling rates against counts by hand, on true images of eight bits."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from gancore_uap.budgets import from_levels, to_levels
from gancore_uap.perturbation_files import random_perturbation
from gancore_uap.scoring import Fooling, score, sweep, transfer_matrix
from gancore_uap.tables import accuracy_table, fooling_rates, markdown, text_table
from torch import Tensor

from gancore import GancoreError

CLASSES = 7


class Linear:
    """A linear classifier that writes down what it was shown."""

    def __init__(self, seed: int, classes: int = CLASSES, pixels: int = 48) -> None:
        self.weight = torch.randn(classes, pixels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.seen: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        self.seen.append(x)
        return x.double().flatten(1) @ self.weight.T

    def by_hand(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        shown = (images.astype(np.float64) / 127.5 - 1).reshape(len(images), -1)
        predicted: np.ndarray[Any, Any] = (shown @ self.weight.numpy().T).argmax(1)
        return predicted


def data(number: int = 230) -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (number, 3, 4, 4), generator=noise, dtype=torch.uint8)
    return images, torch.randint(0, CLASSES, (number,), generator=noise)


def strong(seed: int = 0, epsilon: float = 60 / 255) -> Tensor:
    return random_perturbation((3, 4, 4), epsilon, "linf", seed).delta


@pytest.mark.parametrize("batch_size", [1, 64, 230, 1000])
@pytest.mark.parametrize("target", [None, 3])
def test_scores_are_those_counted_by_hand(batch_size: int, target: int | None) -> None:
    classify, delta = Linear(0), strong()
    images, labels = data()
    fooling = score(classify, images, labels, delta, target=target, batch_size=batch_size)
    moved = np.clip(images.numpy().astype(int) + to_levels(delta).numpy().astype(int), 0, 255)
    clean, perturbed = classify.by_hand(images.numpy()), classify.by_hand(moved)
    assert 0 < fooling.fooling_rate < 1
    assert fooling.fooling_rate == pytest.approx((clean != perturbed).mean())
    assert fooling.accuracy == pytest.approx((clean == labels.numpy()).mean())
    assert fooling.perturbed_accuracy == pytest.approx((perturbed == labels.numpy()).mean())
    if target is None:
        assert fooling.targeted_success is None
    else:
        assert fooling.targeted_success == pytest.approx((perturbed[clean != target] == target).mean())
    counts = Counter(perturbed.tolist())
    expected = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
    assert fooling.dominant == [(k, pytest.approx(count / 230)) for k, count in expected]
    assert fooling.images == 230


def test_the_classifier_sees_images_of_eight_bits_from_minus_one_to_one() -> None:
    classify = Linear(0)
    images, labels = data(9)
    score(classify, images, labels, strong(), batch_size=4)
    assert [len(x) for x in classify.seen] == [4, 4, 1, 4, 4, 1]
    for x in classify.seen:
        assert x.dtype == torch.float32
        assert x.abs().max() <= 1
        levels = (x + 1) * 127.5
        assert torch.allclose(levels, levels.round(), atol=1e-4)


def test_no_perturbation_fools_nobody() -> None:
    images, labels = data()
    fooling = score(Linear(0), images, labels, torch.zeros(3, 4, 4))
    assert fooling.fooling_rate == 0
    assert fooling.accuracy == fooling.perturbed_accuracy


def test_a_constant_classifier_has_one_dominant_class_and_no_target_left() -> None:
    images, labels = data()
    always = torch.tensor([0.0, 0, 1, 0, 0, 0, 0])
    fooling = score(lambda x: always.expand(len(x), -1), images, labels, strong(), target=2)
    assert (fooling.dominant, fooling.targeted_success) == ([(2, 1.0)], None)
    other = score(lambda x: always.expand(len(x), -1), images, labels, strong(), target=1)
    assert other.targeted_success == 0


def test_a_transfer_matrix_holds_every_pair_s_score_and_shows_clean_images_once() -> None:
    images, labels = data()
    victims = {"a": Linear(0), "b": Linear(1)}
    perturbations = {"one": strong(0), "two": strong(1), "three": from_levels(torch.zeros(3, 4, 4))}
    matrix = transfer_matrix(victims, perturbations, images, labels, target=1, batch_size=100)
    assert list(matrix) == ["one", "two", "three"]
    for name, delta in perturbations.items():
        assert list(matrix[name]) == ["a", "b"]
        for victim, classify in victims.items():
            assert matrix[name][victim] == score(Linear(int(victim == "b")), images, labels, delta, target=1)
            assert sum(map(len, classify.seen)) == 4 * len(images)


def test_a_sweep_holds_every_budget_s_score_and_shows_clean_images_once() -> None:
    images, labels = data()
    one = random_perturbation((3, 4, 4), 10 / 255, "linf", 0)
    deltas = {f"{k}/255": one.scaled(k / 255).delta for k in (1, 10, 100)}
    classify = Linear(0)
    by_budget = sweep(classify, deltas, images, labels, device="cpu")
    assert list(by_budget) == ["1/255", "10/255", "100/255"]
    assert sum(map(len, classify.seen)) == 4 * len(images)
    for epsilon, delta in deltas.items():
        assert by_budget[epsilon] == score(Linear(0), images, labels, delta)
    rates = [entry.fooling_rate for entry in by_budget.values()]
    assert rates[0] < rates[1] < rates[2]


# -- errors ------------------------------------------------------------------------------------------------------------


def test_a_perturbation_of_another_size_is_refused_with_both_sizes() -> None:
    images, labels = data()
    remedy = "set data.image_size to the perturbation's size, or craft one at the size of the images"
    with pytest.raises(GancoreError, match=f"the perturbation has the size 3 x 8 x 8 and the images have 3 x 4 x 4; {remedy}"):
        score(Linear(0), images, labels, torch.zeros(3, 8, 8))
    with pytest.raises(GancoreError, match="the perturbation 'large' has the size 1 x 4 x 4"):
        transfer_matrix({"a": Linear(0)}, {"large": torch.zeros(1, 4, 4)}, images, labels)


def test_a_classifier_of_other_classes_is_refused() -> None:
    images, labels = data()
    with pytest.raises(GancoreError, match="the classifier knows the classes 0 to 2, and the images have labels from 0 to 6"):
        score(Linear(0, classes=3), images, labels, strong())
    with pytest.raises(GancoreError, match="victim 'b' knows the classes 0 to 2"):
        transfer_matrix({"a": Linear(0), "b": Linear(0, classes=3)}, {"p": strong()}, images, labels)
    with pytest.raises(GancoreError, match="labels from -1 to 6"):
        score(Linear(0), images, torch.where(labels == 0, -1, labels), strong())


@pytest.mark.parametrize("target", [-1, CLASSES])
def test_a_target_that_there_is_not_is_refused(target: int) -> None:
    images, labels = data()
    with pytest.raises(GancoreError, match=f"no class {target} to aim at; choose a target from 0 to 6"):
        score(Linear(0), images, labels, strong(), target=target)


def test_logits_that_are_none_are_refused() -> None:
    images, labels = data()
    with pytest.raises(GancoreError, match="gives logits of unperturbed images that are not finite; check its weights"):
        score(lambda x: torch.full((len(x), CLASSES), math.nan), images, labels, strong())
    with pytest.raises(GancoreError, match="in place of one row of logits for each"):
        score(lambda x: x, images, labels, strong())
    with pytest.raises(GancoreError, match="in place of one row of logits for each"):
        score(lambda x: x.flatten(1)[:1], images, labels, strong())


def test_images_and_labels_that_do_not_fit_are_refused() -> None:
    images, labels = data()
    with pytest.raises(GancoreError, match="at least one image"):
        score(Linear(0), images[:0], labels[:0], strong())
    with pytest.raises(GancoreError, match=r"these are float32; convert them with gancore\.tools\.to_uint8"):
        score(Linear(0), images.float(), labels, strong())
    with pytest.raises(GancoreError, match=r"230 images need as many labels, and got labels of shape \(229,\)"):
        score(Linear(0), images, labels[1:], strong())
    with pytest.raises(GancoreError, match="holds 1 image or more, and 0 is none"):
        score(Linear(0), images, labels, strong(), batch_size=0)
    with pytest.raises(GancoreError, match="not finite everywhere"):
        score(Linear(0), images, labels, torch.full((3, 4, 4), math.nan))


# -- tables ------------------------------------------------------------------------------------------------------------


def entry(rate: float) -> Fooling:
    return Fooling(rate, 0.9, 0.2, None, [], 100)


MATRIX = {"ours": {"vgg16": entry(0.9616), "a|b": entry(0.5)}, "noise": {"vgg16": entry(0.0), "a|b": entry(1.0)}}


def test_tables_hold_fooling_rates_in_percent_and_their_mean() -> None:
    assert markdown(MATRIX) == (
        "| fooling rate in % | vgg16 | a\\|b | mean |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| ours | 96.16 | 50.00 | 73.08 |\n"
        "| noise | 0.00 | 100.00 | 50.00 |\n"
    )
    assert text_table(MATRIX) == (
        "fooling rate in %  vgg16     a|b   mean\n"
        "ours               96.16   50.00  73.08\n"
        "noise               0.00  100.00  50.00\n"
    )
    assert fooling_rates(MATRIX) == (["ours", "noise"], ["vgg16", "a|b"], [[0.9616, 0.5], [0.0, 1.0]])


def test_accuracies_stand_below_that_of_clean_images() -> None:
    assert accuracy_table({"ours": {"a": entry(1), "b": Fooling(0.5, 0.8, 0.4, None, [], 100)}}) == (
        "accuracy in %        a      b   mean\nno perturbation  90.00  80.00  85.00\nours             20.00  40.00  30.00\n"
    )
    aimed = {"ours": {"a": Fooling(0.5, 0.8, 0.4, 0.25, [], 100)}}
    assert accuracy_table(aimed).splitlines()[-1].split() == ["taken", "for", "the", "target,", "ours", "25.00", "25.00"]


@pytest.mark.parametrize("function", [markdown, text_table, accuracy_table])
def test_tables_of_nothing_are_refused(function: Any) -> None:
    for empty in ({}, {"ours": {}}):
        with pytest.raises(GancoreError, match="at least one perturbation and one victim"):
            function(empty)
    with pytest.raises(GancoreError, match="those of 'noise' are not those of 'ours'; score every pair"):
        function({"ours": {"a": entry(1)}, "noise": {"b": entry(1)}})
