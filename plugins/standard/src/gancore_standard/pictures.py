"""Pictures of generated images: grids, and scatter plots where the data are points in the plane."""

from __future__ import annotations

import math

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gancore import GancoreError
from gancore.tools import to_uint8

_TILE = 48
"""Images smaller than this many pixels are enlarged by a whole factor until they are not."""

_MOST_PIXELS = 40_000_000
"""Grids beyond this size are not enlarged."""

_GUTTER = (150, 150, 150)
"""Between tiles: neither the black of digits nor the white of a page."""

_MARK, _CROSS = (70, 20, 60), (255, 90, 200)
"""Ground and cross of the tile that stands for an image with a value that is not finite."""

_DOT, _OUTSIDE, _AXIS = (0, 114, 178), (213, 94, 0), (110, 110, 110)


def grid(images: Tensor, columns: int | None = None, padding: int = 2, scale: int | None = None) -> Image.Image:
    """Return one picture of many images, in reading order.

    One channel is shown as gray and three as color; of any other number the channels' mean is shown as gray. An image with
    a value that is not finite is shown as a crossed tile. Points in the plane, (N, 2, 1, 1), become a `scatter` plot.

    Args:
        images: Images (N, C, H, W) in [-1, 1]; values outside are clipped.
        columns: Images per row; by default the grid is about square. 0 is for one image as it is: no padding, no enlargement.
        padding: Pixels around and between images.
        scale: Whole factor of enlargement, by repetition of pixels; by default as much as makes small images visible.

    Returns:
        An RGB picture.

    Raises:
        GancoreError: There is no image, the shape is another, or a number is out of range.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise GancoreError(f"a picture needs images of shape (N, C, H, W), none of them zero, and got {tuple(images.shape)}.")
    if tuple(images.shape[1:]) == (2, 1, 1):
        return scatter(images.flatten(1))
    number, channels, height, width = images.shape
    if columns == 0 and number == 1:
        columns, padding, scale = 1, 0, 1
    columns = min(_at_least(1, columns, "columns", math.ceil(math.sqrt(number))), number)
    padding = _at_least(0, padding, "padding", 0)
    rows = math.ceil(number / columns)
    scale = _at_least(1, scale, "scale", _fitting_scale(height, width, rows * columns))

    images = images.detach().float().cpu()
    broken = ~images.isfinite().flatten(1).all(1)
    if channels not in (1, 3):
        images = images.mean(1, keepdim=True)
    tiles = to_uint8(images.nan_to_num(0.0)).expand(-1, 3, -1, -1)
    tiles = tiles.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    high, wide = tiles.shape[2:]

    canvas = torch.tensor(_GUTTER, dtype=torch.uint8).expand(
        rows * (high + padding) + padding, columns * (wide + padding) + padding, 3
    )
    canvas = canvas.contiguous()
    corners = [(padding + n // columns * (high + padding), padding + n % columns * (wide + padding)) for n in range(number)]
    for tile, (top, left) in zip(tiles, corners, strict=True):
        canvas[top : top + high, left : left + wide] = tile.permute(1, 2, 0)
    picture = Image.fromarray(canvas.numpy())
    draw = ImageDraw.Draw(picture)
    for n in broken.nonzero().flatten().tolist():
        top, left = corners[n]
        bottom, right = top + high - 1, left + wide - 1
        draw.rectangle((left, top, right, bottom), fill=_MARK)
        draw.line((left, top, right, bottom), fill=_CROSS, width=max(1, wide // 24))
        draw.line((left, bottom, right, top), fill=_CROSS, width=max(1, wide // 24))
    return picture


def scatter(points: Tensor, limit: float = 1.0, size: int = 480) -> Image.Image:
    """Return a scatter plot of points in the plane.

    The axes do not depend on the points, so that pictures of one run can be compared. A point beyond them is drawn in
    another color where it leaves the plot; points that are not finite are left out, and their number is written below.

    Args:
        points: Points (N, 2).
        limit: The axes reach from ``-1.1 * limit`` to ``1.1 * limit``.
        size: Width and height of the picture, in pixels.

    Returns:
        An RGB picture.

    Raises:
        GancoreError: The shape is another, or a number is out of range.
    """
    if points.ndim != 2 or points.shape[1] != 2:
        raise GancoreError(f"a scatter plot needs points of shape (N, 2), and got {tuple(points.shape)}.")
    if not (math.isfinite(limit) and limit > 0):
        raise GancoreError(f"the limit of a scatter plot must be above 0, and {limit} is not.")
    size = _at_least(100, size, "size", 480)
    points = points.detach().double().cpu()
    finite = points[points.isfinite().all(1)]
    lost = len(points) - len(finite)

    # Drawn at twice the size and reduced, for smooth dots.
    plot = Image.new("RGB", (2 * size, 2 * size), "white")
    draw = ImageDraw.Draw(plot, "RGBA")
    margin, reach = 0.09 * size, 1.1 * limit
    side = 2 * size - 2 * margin

    def place(x: float, y: float) -> tuple[float, float]:
        return margin + (x / reach + 1) / 2 * side, margin + (1 - y / reach) / 2 * side

    font = {"fill": _AXIS, "font_size": size / 16}
    for tick in (-limit, 0.0, limit):
        x, y = place(tick, tick)
        line = (215, 215, 215)
        draw.line((x, margin, x, margin + side), fill=line, width=2)
        draw.line((margin, y, margin + side, y), fill=line, width=2)
        draw.text((x, margin + side + margin / 2), f"{tick:g}", anchor="mm", **font)
        draw.text((margin / 2, y), f"{tick:g}", anchor="mm", **font)
    radius = size / 90
    for x, y in finite.tolist():
        inside = max(abs(x), abs(y)) <= reach
        across, down = place(min(max(x, -reach), reach), min(max(y, -reach), reach))
        box = (across - radius, down - radius, across + radius, down + radius)
        draw.ellipse(box, fill=(*(_DOT if inside else _OUTSIDE), 150))
    draw.rectangle((margin, margin, margin + side, margin + side), outline=_AXIS, width=2)
    if lost:
        text = f"{lost} of {len(points)} points not finite"
        draw.text((margin + side, margin / 2), text, anchor="rm", fill=_OUTSIDE, font_size=size / 16)
    return plot.resize((size, size), Image.Resampling.BOX)


def _at_least(least: int, number: int | None, name: str, default: int) -> int:
    if number is None:
        return default
    if number < least:
        raise GancoreError(f"{name} of a picture must be {least} or more, and {number} is not.")
    return number


def _fitting_scale(height: int, width: int, tiles: int) -> int:
    scale = math.ceil(_TILE / min(height, width))
    return scale if tiles * height * width * scale**2 <= _MOST_PIXELS else 1
