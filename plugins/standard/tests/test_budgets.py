"""Budgets of attacks: one notation for levels of a pixel, whatever scale a component computes on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_defensegan.black_box import BlackBox
from gancore_fastrobgan.attacks import FGSM, PGD, DeepFool, Free
from gancore_standard.budgets import budget, budgets, in_levels
from gancore_uap.perturbations import Direct

from gancore import GancoreError

SHAPE: dict[str, Any] = {"channels": 1, "image_size": 8}


def test_levels_of_a_pixel_are_twice_as_much_where_images_are_in_minus_one_to_one() -> None:
    assert budget("8/255") == pytest.approx(16 / 255, abs=1e-15)
    assert budget("8 / 255", width=1.0) == pytest.approx(8 / 255, abs=1e-15)
    assert budget("1/1") == 2
    assert [budget(number) for number in (0.03125, "0.03125", 0, "2e-2")] == [0.03125, 0.03125, 0, 0.02]
    assert budgets("4/255, 0.08", "--epsilon") == [8 / 255, 0.08]
    assert [in_levels(value) for value in (16 / 255, 0.02)] == ["8/255", "2.55/255"]


@pytest.mark.parametrize("text", ["", "much", "8/0", "8/", "/255", "-8/255", "1/2/3", "nan", "inf", "8/255px"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(GancoreError, match=r"is no budget; write levels of a pixel as 8/255, or a number, which is 0\.0627"):
        budget(text)


def test_every_attack_reads_levels() -> None:
    free = Free(**SHAPE, batch_size=2, epsilon="8/255", start="zero")
    black_box = BlackBox(**SHAPE, classes=3, epsilon="8/255")
    for attack in (PGD(epsilon="8/255"), FGSM(epsilon="8/255"), DeepFool(epsilon="8/255"), free, black_box):
        assert attack.epsilon == pytest.approx(16 / 255, abs=1e-15)
    assert PGD(epsilon="8/255", steps=5).step == pytest.approx(8 / 255, abs=1e-15)
    for build in (PGD, FGSM, DeepFool):
        with pytest.raises(GancoreError, match="the attack's epsilon = 'x' is no budget"):
            build(epsilon="x")
        with pytest.raises(GancoreError, match="from 0 to 2"):
            build(epsilon="256/255", norm="linf")


def test_a_universal_perturbation_of_levels_keeps_to_them() -> None:
    perturbation = Direct(**SHAPE, latent_dim=2, epsilon="10/255", norm="linf", start=1.0)
    assert perturbation.epsilon == 10 / 255
    assert torch.all(perturbation.delta.abs() <= 10 / 255)
    moved = perturbation.translate(torch.zeros(1, 1, 8, 8), torch.zeros(1, 2), None)
    assert 10 / 255 < float(moved.detach().abs().max()) <= 20 / 255 + 1e-6
