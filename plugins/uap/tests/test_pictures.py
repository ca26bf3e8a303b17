"""Pictures of perturbations: sizes and colors, and that nothing is too small, too long or too much for them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from gancore_uap import pictures, plots, sheet
from gancore_uap.budgets import apply_to_8bit, from_levels
from gancore_uap.perturbation_files import random_perturbation
from gancore_uap.pictures import examples_picture, matrix_picture, perturbation_picture
from gancore_uap.plots import sweep_picture
from gancore_uap.scoring import Fooling
from PIL import Image
from torch import Tensor

from gancore import GancoreError

LONG = "Staffordshire bullterrier, Staffordshire bull terrier, and many_other_breeds/of-dogs"
WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
WARNING = (200, 70, 0)


def pixels(picture: Image.Image) -> np.ndarray[Any, Any]:
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def count(picture: Image.Image, color: tuple[int, int, int]) -> int:
    return int((pixels(picture) == color).all(-1).sum())


def examples(number: int, channels: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    images = torch.randint(
        0, 256, (number, channels, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    delta = random_perturbation((channels, side, side), 10 / 255, "linf", 0, "uniform").delta
    return images, apply_to_8bit(images, delta), delta


# -- a perturbation alone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "expected"), [(1, 256), (8, 256), (28, 280), (32, 256), (224, 448), (256, 256), (300, 300)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_perturbation_is_enlarged_to_256_pixels_by_a_whole_factor(side: int, expected: int, channels: int) -> None:
    picture = perturbation_picture(random_perturbation((channels, side, side), 10 / 255, "linf", 0).delta)
    assert picture.size == (expected, expected + 26)
    # Something is written below.
    assert pixels(picture)[expected:].min() < 100


def test_a_perturbation_is_amplified_around_mid_gray() -> None:
    delta = from_levels(torch.tensor([-10, 0, 5, 10])).view(1, 1, 4).expand(1, 4, 4)
    shown = pixels(perturbation_picture(delta))[32, 32::64]
    assert shown.tolist() == [[0] * 3, [128] * 3, [191] * 3, [255] * 3]
    colors = from_levels(torch.tensor([10, 0, -10])).view(3, 1, 1).expand(3, 4, 4)
    assert pixels(perturbation_picture(colors))[5, 5].tolist() == [255, 128, 0]


def test_enlarged_pixels_are_sharp() -> None:
    delta = random_perturbation((3, 32, 32), 10 / 255, "linf", 0, "uniform").delta
    shown = pixels(perturbation_picture(delta))[:256]
    expected = (127.5 + 127.5 * delta.double() / delta.max()).round().permute(1, 2, 0).numpy()
    assert np.array_equal(shown, expected.repeat(8, 0).repeat(8, 1))


def test_no_perturbation_is_mid_gray() -> None:
    shown = pixels(perturbation_picture(torch.zeros(3, 32, 32)))
    assert (shown[:256] == 128).all()


def test_perturbations_that_can_t_be_drawn_are_refused() -> None:
    with pytest.raises(GancoreError, match=r"needs the shape \(C, H, W\), and got \(1, 3, 4, 4\)"):
        perturbation_picture(torch.zeros(1, 3, 4, 4))
    with pytest.raises(GancoreError, match="not finite"):
        perturbation_picture(torch.full((3, 4, 4), math.nan))


# -- examples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 3, 8, 20])
@pytest.mark.parametrize(("channels", "side", "tile"), [(1, 8, 104), (1, 28, 112), (3, 32, 128), (3, 224, 224)])
def test_examples_stand_in_rows_of_eight(number: int, channels: int, side: int, tile: int) -> None:
    images, perturbed, delta = examples(number, channels, side)
    picture = examples_picture(images, perturbed, ["cat"] * number, ["cat"] * number, delta)
    columns, bands = min(number, 8), math.ceil(number / 8)
    assert picture.width == 14 + (columns + 1) * (tile + 10) + 14
    assert 2 * bands * tile < picture.height < 2 * bands * (tile + 70) + 50
    # The images themselves are in it, unchanged.
    first = np.broadcast_to(images[0].permute(1, 2, 0).numpy().repeat(tile // side, 0).repeat(tile // side, 1), (tile, tile, 3))
    row = pixels(picture)[44 : 44 + tile, 14 + tile + 20 :][:, :tile]
    assert np.array_equal(row, first)


def test_changed_predictions_are_framed_and_written_in_the_warning_color() -> None:
    images, perturbed, delta = examples(8, 3, 32)
    clean = ["cat"] * 8
    counts = [
        count(examples_picture(images, perturbed, clean, ["dog"] * k + ["cat"] * (8 - k), delta), WARNING) for k in (0, 1, 8)
    ]
    assert counts[0] == 0
    # A frame of three pixels around a tile of 128.
    assert counts[1] >= 4 * 3 * 128
    assert counts[2] >= 8 * 4 * 3 * 128


@pytest.mark.parametrize("side", [8, 32, 224])
@pytest.mark.parametrize("number", [1, 8])
@pytest.mark.parametrize("name", ["", " ", "é", "猫", LONG, WORD, "a" * 500, "- / _"], ids=len)
def test_long_and_strange_names_stay_inside(side: int, number: int, name: str) -> None:
    images, perturbed, delta = examples(number, 3, side)
    picture = examples_picture(images, perturbed, [name] * number, ["dog"] * number, delta)
    shown = pixels(picture)
    for edge in (shown[0], shown[-1], shown[:, 0], shown[:, -1]):
        assert (edge == 255).all()


def test_examples_that_do_not_fit_are_refused() -> None:
    images, perturbed, delta = examples(2, 3, 8)
    names = ["cat", "dog"]
    with pytest.raises(GancoreError, match="needs images"):
        examples_picture(images[:0], perturbed[:0], [], [], delta)
    with pytest.raises(GancoreError, match="of one size"):
        examples_picture(images, perturbed[:1], names, names, delta)
    with pytest.raises(GancoreError, match="of one size"):
        examples_picture(images, perturbed, names, names, delta[:1])
    with pytest.raises(GancoreError, match="images of eight bits"):
        examples_picture(images.float(), perturbed, names, names, delta)
    with pytest.raises(GancoreError, match="needs as many names of predictions, and got 1"):
        examples_picture(images, perturbed, names, names[:1], delta)


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [1, 2, 3])
@pytest.mark.parametrize("text", ["cat", LONG, WORD, "a - b", "runs/cifar10_victims/resnet18"])
def test_fitted_texts_keep_to_their_width_and_lose_nothing_without_a_sign(text: str, lines: int) -> None:
    fitted = sheet.fit_text(text, 100, 12.5, lines)
    assert 1 <= len(fitted) <= lines
    assert all(line and sheet.text_width(line, 12.5) <= 100 for line in fitted)
    whole = "".join(fitted).replace(" ", "")
    plain = sheet.plain_text(text).replace(" ", "")
    if whole != plain:
        assert whole.endswith("…")
        assert plain.startswith(whole[:-1])


def test_texts_lose_their_accents() -> None:
    assert sheet.plain_text("café  au\nlait 猫") == "cafe au lait ?"


# -- matrices ----------------------------------------------------------------------------------------------------------


def matrix(rows: list[str], columns: list[str], rate: float) -> dict[str, dict[str, Fooling]]:
    return {row: {column: Fooling(rate, 0.9, 0.1, None, [], 10) for column in columns} for row in rows}


@pytest.mark.parametrize("rows", [["a"], [LONG, WORD, "猫"], [str(k) for k in range(30)]], ids=len)
@pytest.mark.parametrize("columns", [["b"], [LONG, WORD, ""], [str(k) for k in range(12)]], ids=len)
def test_a_matrix_has_a_cell_for_each_pair_and_the_mean(rows: list[str], columns: list[str]) -> None:
    picture = matrix_picture(matrix(rows, columns, 1.0))
    shown = pixels(picture)
    for edge in (shown[0], shown[-1], shown[:, 0], shown[:, -1]):
        assert (edge == 255).all()
    # All of it in the darkest color, but for the numbers.
    area = len(rows) * (len(columns) + 1) * 92 * 40
    assert 0.7 * area < count(picture, (8, 40, 92)) < area


def test_a_matrix_is_darker_where_more_is_fooled() -> None:
    luminance = [pictures._luminance(pictures._heat(k / 100)) for k in range(101)]
    assert all(first > second for first, second in itertools.pairwise(luminance))
    assert pictures._heat(0.0) == (250, 250, 250)
    assert pictures._heat(1.0) == (8, 40, 92)


def test_numbers_can_be_read_on_every_color() -> None:
    for k in range(101):
        ground = pictures._luminance(pictures._heat(k / 100))
        ink = pictures._luminance((45, 45, 45)) if ground > pictures._PALE else 1.0
        contrast = (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05)
        assert contrast > 3.5


def test_a_matrix_of_nothing_is_refused() -> None:
    with pytest.raises(GancoreError, match="at least one perturbation and one victim"):
        matrix_picture({})


# -- sweeps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 5, 14, 40])
@pytest.mark.parametrize("name", ["line", LONG, WORD])
def test_a_sweep_has_a_line_of_its_own_color_for_each_name(number: int, name: str) -> None:
    budgets = (2 / 255, 4 / 255, 10 / 255)
    curves = {f"{k} {name}": {e: (k + 1) / (number + 1) * e / budgets[-1] for e in budgets} for k in range(number)}
    picture = sweep_picture(curves)
    shown = pixels(picture)
    for edge in (shown[0], shown[-1], shown[:, 0], shown[:, -1]):
        assert (edge == 255).all()
    for color in plots._LINES[:number]:
        assert count(picture, color) > 20
    for color in plots._LINES[number:]:
        assert count(picture, color) == 0


def test_points_of_a_sweep_lie_where_they_should() -> None:
    shown = pixels(sweep_picture({"one": {10 / 255: 0.5}}))
    # The right edge of the plot, at half its height.
    assert shown[176, 582].tolist() == list(plots._LINES[0])
    low = pixels(sweep_picture({"one": {0.0: 0.0, 10 / 255: 1.0}}))
    assert low[176, 322].tolist() == list(plots._LINES[0])


@pytest.mark.parametrize("levels", [0.01, 0.3, 1, 2, 3.7, 8, 10, 11, 16, 32, 99, 100, 255])
def test_ticks_are_few_and_round(levels: float) -> None:
    step = plots._step(levels)
    assert 4 <= levels / step <= 10
    assert f"{step:e}"[0] in "125"
    sweep_picture({"one": {levels / 255: 0.2}})


def test_sweeps_that_can_t_be_drawn_are_refused() -> None:
    for empty in ({}, {"one": {}}):
        with pytest.raises(GancoreError, match="at least one budget on every line"):
            sweep_picture(empty)
    with pytest.raises(GancoreError, match=r"one: a budget and a fooling rate lie from 0 to 1, and 10 and 0\.5 do not both"):
        sweep_picture({"one": {10.0: 0.5}})
    with pytest.raises(GancoreError, match="do not both"):
        sweep_picture({"one": {0.1: math.nan}})
    with pytest.raises(GancoreError, match="a budget above 0"):
        sweep_picture({"one": {0.0: 0.0}})
