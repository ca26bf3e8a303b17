"""Pictures of perturbations and of what they do: amplified, on images, and between victims."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

import gancore
from gancore_uap.budgets import LEVELS
from gancore_uap.scoring import Matrix
from gancore_uap.sheet import FAINT, FONT, RULE, SMALL, TEXT, WARNING, Color, Sheet, fit_text, plain_text, text_width
from gancore_uap.tables import fooling_rates

PERTURBATION_SIZE = 256
"""A perturbation alone is enlarged to at least this many pixels."""

TILE = 104
"""Images in rows are enlarged to at least this many pixels, so that names find room below them."""

COLUMNS = 8
"""Images in a row; more go to further rows."""


_HEAT = ((250, 250, 250), (196, 220, 238), (96, 160, 206), (24, 92, 158), (8, 40, 92))
"""From 0 % to 100 %, darker all the way, so that it prints in gray."""

_PALE = 0.23
"""Luminance on which dark and white letters can be read equally well."""


def perturbation_picture(delta: Tensor, size: int = PERTURBATION_SIZE) -> Image.Image:
    """Return a picture of a perturbation, amplified to the full range around mid-gray, with a line that says by how much.

    Args:
        delta: Perturbation (C, H, W), in units of the [0, 1] scale of pixels. One channel is shown as gray and three as
            color; of any other number the mean is shown.
        size: The least width and height in pixels; pixels are enlarged by a whole factor.

    Returns:
        An RGB picture.

    Raises:
        GancoreError: The shape is another, or the perturbation is not finite.
    """
    tile, notes = _amplified(delta)
    factor = _factor(tile, size)
    high, wide = (factor * pixels for pixels in tile.shape[1:])
    note = ", ".join(filter(None, notes))
    sheet = Sheet(wide, high + 26)
    sheet.tile(tile, 0, 0, factor)
    sheet.text(wide / 2, high + 13, fit_text(note, wide - 8, FONT, 1)[0], FONT, "mm")
    return sheet.done()


def examples_picture(
    images: Tensor, perturbed: Tensor, clean_names: Sequence[str], perturbed_names: Sequence[str], delta: Tensor
) -> Image.Image:
    """Return a picture of images above the same images with the perturbation, and the names of what a classifier sees.

    Changed predictions, those with another name, are framed and written in a warning color; the perturbation stands at the
    left, amplified.

    Args:
        images: Images (N, C, H, W) uint8.
        perturbed: The same images with the perturbation, (N, C, H, W) uint8.
        clean_names: Names of the N classes predicted for `images`. Characters beyond ASCII lose their accents, or are shown
            as question marks; names that are too long for two lines are cut.
        perturbed_names: Names of the N classes predicted for `perturbed`.
        delta: Perturbation (C, H, W), in units of the [0, 1] scale of pixels.

    Returns:
        An RGB picture.

    Raises:
        GancoreError: There is no image, the images are no bytes, the perturbation is not finite, or a size or number does
            not fit.
    """
    number = _check_examples(images, perturbed, clean_names, perturbed_names, delta)
    shown, notes = _amplified(delta)
    factor = _factor(shown, TILE)
    high, wide = (factor * pixels for pixels in shown.shape[1:])
    gap, margin, head, line = 10, 14, 30, 16
    step = wide + gap
    columns = min(number, COLUMNS)
    bands = math.ceil(number / columns)
    fitted = [[fit_text(name, wide + gap - 4, SMALL, 2) for name in names] for names in (clean_names, perturbed_names)]
    row = head + high + 4 + max(len(texts) for names in fitted for texts in names) * line
    band = 2 * row + 2 * gap
    left = margin + step + gap
    sheet = Sheet(left + columns * step - gap + margin, margin + bands * band + line + margin)

    changed = [before != after for before, after in zip(clean_names, perturbed_names, strict=True)]
    middle = round(margin + (2 * row - high - len(notes) * line) / 2)
    sheet.text(margin, middle - 14, "perturbation", FONT, "lm")
    sheet.tile(shown, margin, middle, factor)
    for k, note in enumerate(notes):
        sheet.text(margin + wide / 2, middle + high + 4 + (k + 0.5) * line, note, SMALL, "mm")
    for second, (name, pictures) in enumerate((("clean", images), ("perturbed", perturbed))):
        for k in range(number):
            top, x = margin + k // columns * band + second * row, left + k % columns * step
            if k % columns == 0:
                sheet.text(left, top + head - 14, name, FONT, "lm")
            top += head
            sheet.tile(_three(pictures[k].cpu()), x, top, factor)
            warn = bool(second) and changed[k]
            if warn:
                sheet.rectangle((x - 3, top - 3, x + wide + 3, top + high + 3), outline=WARNING, width=3)
            for place, text in enumerate(fitted[second][k]):
                y = top + high + 5 + (place + 0.5) * line
                sheet.text(x + wide / 2, y, text, SMALL, "mm", WARNING if warn else TEXT)
    totals = [f"{sum(changed)} of {number} {what}" for what in ("predictions changed", "changed")]
    total = next((text for text in totals if left + text_width(text, FONT) <= sheet.width - 4), totals[1])
    sheet.text(left, sheet.height - margin - line / 2, total, FONT, "lm", WARNING if any(changed) else TEXT)
    return sheet.done()


def matrix_picture(matrix: Matrix) -> Image.Image:
    """Return a heat map of fooling rates in %: a row for each perturbation, a column for each victim, and their mean.

    Args:
        matrix: What `gancore_uap.scoring.transfer_matrix` gave.

    Returns:
        An RGB picture.

    Raises:
        GancoreError: There is no perturbation or no victim, or the victims differ between perturbations.
    """
    rows, columns, rates = fooling_rates(matrix)
    margin, cell, high, gap, line = 14, 96, 44, 10, 17
    names = max(110.0, min(240.0, max(text_width(plain_text(row), FONT) for row in rows) + 4))
    left = margin + math.ceil(names) + gap
    heads = [fit_text(name, cell - 6, FONT, 3) for name in [*columns, "mean"]]
    top = margin + line + 8 + max(map(len, heads)) * line + 6
    sheet = Sheet(left + len(columns) * cell + gap + cell + margin, top + len(rows) * high + margin)

    sheet.text(left, margin + line / 2, fit_text("fooling rate in %", sheet.width - left, FONT, 1)[0], FONT, "lm")
    sheet.text(left - gap, top - 6 - line / 2, "perturbation", SMALL, "rm", FAINT)
    for column, texts in enumerate(heads):
        x = left + column * cell + (gap if column == len(columns) else 0)
        for place, text in enumerate(texts):
            sheet.text(x + cell / 2, top - 6 - (len(texts) - place - 0.5) * line, text, FONT, "mm")
    for row, (name, row_rates) in enumerate(zip(rows, rates, strict=True)):
        y = top + row * high
        texts = fit_text(name, names, FONT, 2)
        for place, text in enumerate(texts):
            sheet.text(left - gap, y + high / 2 + (place - (len(texts) - 1) / 2) * line, text, FONT, "rm")
        for column, rate in enumerate([*row_rates, sum(row_rates) / len(row_rates)]):
            x = left + column * cell + (gap if column == len(columns) else 0)
            color = _heat(rate)
            sheet.rectangle((x + 1, y + 1, x + cell - 1, y + high - 1), fill=color, outline=RULE)
            ink = TEXT if _luminance(color) > _PALE else (255, 255, 255)
            sheet.text(x + cell / 2, y + high / 2, f"{100 * rate:.1f}", 16, "mm", ink)
    return sheet.done()


def _amplified(delta: Tensor) -> tuple[Tensor, tuple[str, str]]:
    """Return a perturbation as an image (3, H, W) uint8 around mid-gray, its greatest change, and how much it is amplified."""
    if delta.ndim != 3 or not delta.numel():
        raise gancore.GancoreError(
            f"a picture of a perturbation needs the shape (C, H, W), and got {tuple(delta.shape)}; give one without a batch."
        )
    if not bool(delta.isfinite().all()):
        raise gancore.GancoreError("a perturbation that is not finite can't be drawn; craft it with a smaller learning rate.")
    values = delta.detach().double().cpu()
    most = values.abs().max().item()
    if most == 0:
        return torch.full((3, *delta.shape[1:]), 128, dtype=torch.uint8), ("no change at all", "")
    shown = (127.5 + 127.5 * values / most).round()
    # Without the rounding of float32, which makes 12.7 of the factor 12.75.
    levels = round(most * LEVELS, 3)
    return _three(shown), (f"at most {levels:.3g}/255", f"shown x {127.5 / levels:.3g}")


def _three(image: Tensor) -> Tensor:
    """Return an image (C, H, W) of levels as (3, H, W) uint8."""
    if image.shape[0] not in (1, 3):
        image = image.double().mean(0, keepdim=True).round()
    return image.to(torch.uint8).expand(3, -1, -1)


def _factor(image: Tensor, least: int) -> int:
    return max(1, math.ceil(least / min(image.shape[1:])))


def _heat(rate: float) -> Color:
    at = min(max(rate, 0.0), 1.0) * (len(_HEAT) - 1)
    low = min(int(at), len(_HEAT) - 2)
    red, green, blue = (
        round(first + (second - first) * (at - low)) for first, second in zip(_HEAT[low], _HEAT[low + 1], strict=True)
    )
    return red, green, blue


def _luminance(color: Color) -> float:
    red, green, blue = (math.pow(channel / 255, 2.2) for channel in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _check_examples(
    images: Tensor, perturbed: Tensor, clean_names: Sequence[str], perturbed_names: Sequence[str], delta: Tensor
) -> int:
    if images.ndim != 4 or not images.numel():
        raise gancore.GancoreError(
            f"a picture of examples needs images (N, C, H, W), and got {tuple(images.shape)}; give some."
        )
    if images.shape != perturbed.shape or images.shape[1:] != delta.shape:
        raise gancore.GancoreError(
            f"a picture of examples needs images, perturbed images and a perturbation of one size, and got "
            f"{tuple(images.shape)}, {tuple(perturbed.shape)} and {tuple(delta.shape)}; make the perturbed images with "
            "apply_to_8bit."
        )
    if images.dtype != torch.uint8 or perturbed.dtype != torch.uint8:
        raise gancore.GancoreError(
            "a picture of examples shows images of eight bits; convert them with gancore.tools.to_uint8."
        )
    for names in (clean_names, perturbed_names):
        if len(names) != len(images):
            raise gancore.GancoreError(
                f"a picture of {len(images)} examples needs as many names of predictions, and got {len(names)}; name each."
            )
    return len(images)
