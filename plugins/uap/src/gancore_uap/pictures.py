"""Pictures of perturbations and of what they do: amplified, on images, between victims, and at several budgets."""

from __future__ import annotations

import bisect
import functools
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import gancore
from gancore_uap.budgets import LEVELS
from gancore_uap.scoring import Matrix, fooling_rates

Color = tuple[int, int, int]

PERTURBATION_SIZE = 256
"""A perturbation alone is enlarged to at least this many pixels."""

TILE = 104
"""Images in rows are enlarged to at least this many pixels, so that names find room below them."""

COLUMNS = 8
"""Images in a row; more go to further rows."""

_OVER = 2
"""Everything is drawn larger by this factor, and reduced, for smooth text and lines."""

_TEXT, _FAINT, _RULE = (45, 45, 45), (115, 115, 115), (225, 225, 225)
_WARNING: Color = (200, 70, 0)

_LINES: tuple[Color, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 140, 105),
    (190, 100, 150),
    (200, 140, 0),
    (70, 165, 215),
    (30, 30, 30),
)
"""Told apart by people who confuse colors."""

_SHAPES: tuple[tuple[tuple[float, float], ...], ...] = (
    (),
    ((-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)),
    ((0, -5), (5, 0), (0, 5), (-5, 0)),
    ((0, -5), (4.5, 3.5), (-4.5, 3.5)),
)
"""Corners of dots around their middle, in pixels; a disc has none. One shape for each round of the colors."""

_HEAT = ((250, 250, 250), (196, 220, 238), (96, 160, 206), (24, 92, 158), (8, 40, 92))
"""From 0 % to 100 %, darker all the way, so that it prints in gray."""

_PALE = 0.23
"""Luminance on which dark and white letters can be read equally well."""

_FONT, _SMALL = 14.0, 12.5


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
    sheet = _Sheet(wide, high + 26)
    sheet.tile(tile, 0, 0, factor)
    sheet.text(wide / 2, high + 13, _fitted(note, wide - 8, _FONT, 1)[0], _FONT, "mm")
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
    fitted = [[_fitted(name, wide + gap - 4, _SMALL, 2) for name in names] for names in (clean_names, perturbed_names)]
    row = head + high + 4 + max(len(texts) for names in fitted for texts in names) * line
    band = 2 * row + 2 * gap
    left = margin + step + gap
    sheet = _Sheet(left + columns * step - gap + margin, margin + bands * band + line + margin)

    changed = [before != after for before, after in zip(clean_names, perturbed_names, strict=True)]
    middle = round(margin + (2 * row - high - len(notes) * line) / 2)
    sheet.text(margin, middle - 14, "perturbation", _FONT, "lm")
    sheet.tile(shown, margin, middle, factor)
    for k, note in enumerate(notes):
        sheet.text(margin + wide / 2, middle + high + 4 + (k + 0.5) * line, note, _SMALL, "mm")
    for second, (name, pictures) in enumerate((("clean", images), ("perturbed", perturbed))):
        for k in range(number):
            top, x = margin + k // columns * band + second * row, left + k % columns * step
            if k % columns == 0:
                sheet.text(left, top + head - 14, name, _FONT, "lm")
            top += head
            sheet.tile(_three(pictures[k].cpu()), x, top, factor)
            warn = bool(second) and changed[k]
            if warn:
                sheet.rectangle((x - 3, top - 3, x + wide + 3, top + high + 3), outline=_WARNING, width=3)
            for place, text in enumerate(fitted[second][k]):
                y = top + high + 5 + (place + 0.5) * line
                sheet.text(x + wide / 2, y, text, _SMALL, "mm", _WARNING if warn else _TEXT)
    totals = [f"{sum(changed)} of {number} {what}" for what in ("predictions changed", "changed")]
    total = next((text for text in totals if left + _wide(text, _FONT) <= sheet.width - 4), totals[1])
    sheet.text(left, sheet.height - margin - line / 2, total, _FONT, "lm", _WARNING if any(changed) else _TEXT)
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
    names = max(110.0, min(240.0, max(_wide(_plain(row), _FONT) for row in rows) + 4))
    left = margin + math.ceil(names) + gap
    heads = [_fitted(name, cell - 6, _FONT, 3) for name in [*columns, "mean"]]
    top = margin + line + 8 + max(map(len, heads)) * line + 6
    sheet = _Sheet(left + len(columns) * cell + gap + cell + margin, top + len(rows) * high + margin)

    sheet.text(left, margin + line / 2, _fitted("fooling rate in %", sheet.width - left, _FONT, 1)[0], _FONT, "lm")
    sheet.text(left - gap, top - 6 - line / 2, "perturbation", _SMALL, "rm", _FAINT)
    for column, texts in enumerate(heads):
        x = left + column * cell + (gap if column == len(columns) else 0)
        for place, text in enumerate(texts):
            sheet.text(x + cell / 2, top - 6 - (len(texts) - place - 0.5) * line, text, _FONT, "mm")
    for row, (name, row_rates) in enumerate(zip(rows, rates, strict=True)):
        y = top + row * high
        texts = _fitted(name, names, _FONT, 2)
        for place, text in enumerate(texts):
            sheet.text(left - gap, y + high / 2 + (place - (len(texts) - 1) / 2) * line, text, _FONT, "rm")
        for column, rate in enumerate([*row_rates, sum(row_rates) / len(row_rates)]):
            x = left + column * cell + (gap if column == len(columns) else 0)
            color = _heat(rate)
            sheet.rectangle((x + 1, y + 1, x + cell - 1, y + high - 1), fill=color, outline=_RULE)
            ink = _TEXT if _luminance(color) > _PALE else (255, 255, 255)
            sheet.text(x + cell / 2, y + high / 2, f"{100 * rate:.1f}", 16, "mm", ink)
    return sheet.done()


def sweep_picture(curves: Mapping[str, Mapping[float, float]]) -> Image.Image:
    """Return a plot of fooling rates against the budget, one line for each name.

    Args:
        curves: Name -> budget on the [0, 1] scale of pixels -> fooling rate from 0 to 1.

    Returns:
        An RGB picture.

    Raises:
        GancoreError: There is nothing to draw, or a budget or a rate is out of its range.
    """
    _check_curves(curves)
    scaled = {name: {e * LEVELS: 100 * rate for e, rate in curve.items()} for name, curve in curves.items()}
    return _plot(scaled, ("budget epsilon, in levels of 255", "fooling rate"), top=100, unit=" %")


def classes_picture(cycles: Sequence[int], classes: int, *, each: Sequence[int], so_far: Sequence[int]) -> Image.Image:
    """Return a plot of the distinct predicted classes of a proxy set against its cycles (CBGAN Fig. 7).

    Args:
        cycles: Iteration at which each cycle ended.
        classes: Classes that there are.
        each: Distinct classes of each cycle.
        so_far: Distinct classes of all cycles up to each.

    Returns:
        An RGB picture.

    Raises:
        GancoreError: There is no cycle.
    """
    if not cycles:
        raise gancore.GancoreError("a plot of classes needs at least one cycle; sample some.")
    curves = {
        "of all cycles so far": dict(zip(map(float, cycles), map(float, so_far), strict=True)),
        "of the cycle": dict(zip(map(float, cycles), map(float, each), strict=True)),
    }
    return _plot(curves, ("iteration at the end of the cycle", f"distinct classes, of {classes}"), top=classes)


def _plot(curves: Mapping[str, Mapping[float, float]], names: tuple[str, str], *, top: float, unit: str = "") -> Image.Image:
    """Return a plot of lines over axes that begin at 0; the names are those of the axes."""
    side, high, margin, left, line = 520, 320, 16, 62, 22
    per_row = 2 if all(_wide(_plain(name), _FONT) <= side / 2 - 46 for name in curves) else 1
    below = 62
    legend = math.ceil(len(curves) / per_row) * line
    sheet = _Sheet(left + side + 2 * margin, margin + high + below + legend + margin // 2)
    most = max(x for curve in curves.values() for x in curve)
    step = _step(most)
    reach = math.ceil(most / step - 1e-6) * step
    rise = _step(top)
    # Half as many rules as ticks would do.
    rise = 2 * rise if top / rise > 5 else rise

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x / reach * side, margin + (1 - y / top) * high

    for k in range(math.floor(top / rise + 1e-6) + 1):
        _, y = place(0, k * rise)
        sheet.line([(left, y), (left + side, y)], _RULE, 1)
        sheet.text(left - 8, y, f"{k * rise:g}{unit}", _FONT, "rm")
    for k in range(round(reach / step) + 1):
        x, y = place(k * step, 0)
        sheet.line([(x, y), (x, y + 5)], _FAINT, 1)
        sheet.text(x, y + 16, f"{k * step:g}", _FONT, "mm")
    sheet.line([(left, margin), (left, margin + high), (left + side, margin + high)], _FAINT, 1)
    sheet.text(left + side / 2, margin + high + 36, names[0], _FONT, "mm", _FAINT)
    for number, (name, curve) in enumerate(curves.items()):
        color, shape = _LINES[number % len(_LINES)], number // len(_LINES)
        points = [place(x, curve[x]) for x in sorted(curve)]
        sheet.line(points, color, 2)
        for x, y in points:
            sheet.dot(x, y, color, shape)
        x = left + (number % per_row) * side / per_row
        y = margin + high + below + (number // per_row) * line
        sheet.line([(x, y), (x + 26, y)], color, 2)
        sheet.dot(x + 13, y, color, shape)
        sheet.text(x + 34, y, _fitted(name, side / per_row - 46, _FONT, 1)[0], _FONT, "lm")
    # The axis' name, turned, would cost more room than these words, which stand below the top rule.
    sheet.text(left + 8, margin + 10, names[1], _FONT, "lm", _FAINT)
    return sheet.done()


class _Sheet:
    """A picture that is drawn larger and reduced; all coordinates and sizes are those of the reduced one.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = math.ceil(width), math.ceil(height)
        self.picture = Image.new("RGB", (_OVER * self.width, _OVER * self.height), "white")
        self.canvas = ImageDraw.Draw(self.picture)

    def text(self, x: float, y: float, text: str, font: float, anchor: str, color: Color = _TEXT) -> None:
        """Write one line, anchored as PIL anchors texts."""
        self.canvas.text((_OVER * x, _OVER * y), text, anchor=anchor, fill=color, font=_font(font))

    def rectangle(
        self, box: tuple[float, float, float, float], fill: Color | None = None, outline: Color | None = None, width: int = 1
    ) -> None:
        """Draw a rectangle; its outline is inside."""
        corners = [_OVER * edge for edge in box]
        # PIL's rectangles hold their last row and column.
        corners[2:] = [edge - 1 for edge in corners[2:]]
        self.canvas.rectangle(corners, fill=fill, outline=outline, width=_OVER * width)

    def line(self, points: Sequence[tuple[float, float]], color: Color, width: float) -> None:
        """Draw a line through points."""
        scaled = [(_OVER * x, _OVER * y) for x, y in points]
        self.canvas.line(scaled, fill=color, width=round(_OVER * width), joint="curve")

    def dot(self, x: float, y: float, color: Color, shape: int) -> None:
        """Draw a dot: a disc, a square, a diamond or a triangle."""
        corners = _SHAPES[shape % len(_SHAPES)]
        if corners:
            points = [(_OVER * (x + across), _OVER * (y + down)) for across, down in corners]
            self.canvas.polygon(points, fill=color, outline="white", width=_OVER // 2)
        else:
            self.canvas.ellipse([_OVER * edge for edge in (x - 4, y - 4, x + 4, y + 4)], fill=color, outline="white")

    def tile(self, image: Tensor, x: int, y: int, factor: int) -> None:
        """Paste an image (3, H, W) uint8, each of its pixels enlarged by a whole factor; reducing gives them back exactly."""
        pixels = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        enlarged = pixels.resize((pixels.width * factor * _OVER, pixels.height * factor * _OVER), Image.Resampling.NEAREST)
        self.picture.paste(enlarged, (_OVER * x, _OVER * y))

    def done(self) -> Image.Image:
        """Return the picture at its size."""
        return self.picture.resize((self.width, self.height), Image.Resampling.BOX)


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


def _plain(text: str) -> str:
    """Return a text in the characters that PIL's own font has."""
    # It draws a box for any other.
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return " ".join(bare.encode("ascii", "replace").decode().split()) or "?"


@functools.cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(_OVER * size)


def _wide(text: str, font: float) -> float:
    return float(_font(font).getlength(text)) / _OVER


def _fitted(text: str, width: float, font: float, lines: int) -> list[str]:
    """Return a text as lines of a width in pixels, broken where it can be, and cut where it is too long."""
    # A line may end after a space, and after what joins the words of names and paths.
    pieces = re.findall(r"[^\s_/-]*[_/-]+\s*|[^\s_/-]+\s*", _plain(text))
    fitted = [""]
    for piece in pieces:
        if fitted[-1] and len(fitted) < lines and _wide((fitted[-1] + piece).rstrip(), font) > width:
            fitted.append("")
        # A word that is wider than a line goes on in the next.
        while len(fitted) < lines and _wide((fitted[-1] + piece).rstrip(), font) > width:
            room = max(1, _room(piece, width, font))
            fitted[-1] += piece[:room]
            piece = piece[room:]
            fitted.append("")
        fitted[-1] += piece
    return [_cut(line.rstrip(), width, font) for line in fitted if line]


def _cut(text: str, width: float, font: float) -> str:
    if _wide(text, font) <= width:
        return text
    return f"{text[: _room(text, width, font, '…')].rstrip()}…"


def _room(text: str, width: float, font: float, end: str = "") -> int:
    """Return how many of a text's letters fit in a width, with an end after them."""
    return bisect.bisect_right(range(1, len(text) + 1), width, key=lambda number: _wide(text[:number] + end, font))


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


def _step(most: float) -> float:
    """Return a round distance of ticks, of which 4 to 10 reach up to a number."""
    power = math.pow(10, math.floor(math.log10(most)))
    return next(factor * power for factor in (0.1, 0.2, 0.5, 1.0, 2.0) if most / (factor * power) <= 10)


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


def _check_curves(curves: Mapping[str, Mapping[float, float]]) -> None:
    if not curves or not all(curves.values()):
        raise gancore.GancoreError("a plot of fooling rates needs at least one budget on every line; score some.")
    for name, curve in curves.items():
        for epsilon, rate in curve.items():
            if not (0 <= epsilon <= 1 and 0 <= rate <= 1):
                raise gancore.GancoreError(
                    f"{name}: a budget and a fooling rate lie from 0 to 1, and {epsilon:g} and {rate:g} do not both; "
                    "give budgets on the [0, 1] scale and rates as shares."
                )
    if not any(epsilon > 0 for curve in curves.values() for epsilon in curve):
        raise gancore.GancoreError("a plot of fooling rates needs a budget above 0; score some.")
