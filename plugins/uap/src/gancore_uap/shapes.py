"""Flat shapes with dark outlines, drawn at random: an arbitrary image set for the prior that needs no download."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Literal

import attrs
import numpy as np
import torch
from gancore_standard.tools import SPLITS, ImageSize, check_split
from PIL import Image, ImageDraw
from torch import Tensor

import gancore

KINDS = ("disc", "rectangle", "triangle", "star", "stripes", "ring")
"""The classes, in the order of their labels."""

Color = tuple[int, int, int]
Point = tuple[float, float]

_TEST_EVERY = 10
"""Training images for each test image."""

_MOST = 4
"""Shapes of an image, at the most."""

_FINE = 128
"""Pixels a side of a drawing before it is reduced, where that takes a whole factor from 2 to 8."""


class Shapes(gancore.Dataset):
    """Comic-like drawings: 1 to 4 flat, outlined shapes on a plain, striped or two-tone ground. Six classes.

    The label is the kind of the largest shape, which lies on top of the others: disc, rectangle, triangle, star, stripes or
    ring. Kinds, sizes, places, rotations and colors are drawn at random. The set stands in for the comics of
    OpenReview:yEnaS6yOkxy, section 4.3: arbitrary pictures that have nothing to do with what the classifier knows.

    Each image is a function of the seed, its split and its index, so that a longer set begins with the shorter one, and
    other sizes show the same scenes. Another version of NumPy or Pillow may draw them a little differently.

    Args:
        image_size: Pixels a side. The scene and its outlines grow with it.
        channels: 3 for color, 1 for its luminance (ITU-R 601).
        number: Training images; of test images there are a tenth, at least one.
        seed: Of the images. A set is a function of its settings, whatever the run's seed.
    """

    def __init__(
        self,
        *,
        image_size: ImageSize = 32,
        channels: Literal[1, 3] = 3,
        number: Annotated[int, gancore.Range(1)] = 10_000,
        seed: Annotated[int, gancore.Range(0)] = 0,
    ) -> None:
        self.image_size = image_size
        self.channels = channels
        self.number = number
        self.seed = seed

    @property
    def info(self) -> gancore.DatasetInfo:
        """What is known before an image is drawn."""
        return gancore.DatasetInfo(len(KINDS), self.channels, self.image_size, KINDS)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, C, image_size, image_size) uint8 and labels (N,) int64, in [0, 6), of ``"train"`` or ``"test"``.

        They are drawn once in a process, and the same tensors are returned again: change a copy.

        Raises:
            GancoreError: There is no such split.
        """
        check_split(split)
        number = self.number if split == "train" else max(1, self.number // _TEST_EVERY)
        return _drawn(self.image_size, self.channels, number, self.seed, split)


# Both splits of a set, and of another one that a recipe names beside it.
@lru_cache(maxsize=4)
def _drawn(image_size: int, channels: int, number: int, seed: int, split: str) -> tuple[Tensor, Tensor]:
    images = np.empty((number, image_size, image_size, channels), dtype=np.uint8)
    labels = np.empty(number, dtype=np.int64)
    for index in range(number):
        picture, labels[index] = draw(image_size, np.random.default_rng([seed, SPLITS.index(split), index]))
        pixels = np.asarray(picture if channels == 3 else picture.convert("L"))
        images[index] = pixels.reshape(image_size, image_size, channels)
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), torch.from_numpy(labels)


def draw(image_size: int, random: np.random.Generator) -> tuple[Image.Image, int]:
    """Return a drawing at random, as an RGB picture, and the place of its largest shape's kind in `KINDS`.

    Args:
        image_size: Width and height, in pixels, at least 1. The choices do not depend on it.
        random: Where the choices come from.
    """
    # Reduced from a larger drawing, for smooth edges.
    factor = max(2, min(8, _FINE // image_size))
    side = factor * image_size
    ground = _ground_color(random)
    picture = Image.new("RGB", (side, side), ground)
    canvas = ImageDraw.Draw(picture)
    ink = _rgb(random.random(), random.uniform(0.2, 0.8), random.uniform(0.05, 0.2))
    _paint_ground(canvas, side, _neighbor(ground, random), random)

    label = int(random.integers(len(KINDS)))
    radius = random.uniform(0.24, 0.4)
    first = _Place(random.uniform(0.32, 0.68), random.uniform(0.32, 0.68), radius, random.uniform(0, 2 * math.pi))
    scene = [(label, first)]
    for _ in range(random.integers(_MOST)):
        kind, small = int(random.integers(len(KINDS))), radius * random.uniform(0.35, 0.7)
        scene.append((kind, _free_place([place for _, place in scene], small, random)))
    width = random.uniform(0.025, 0.05)
    # The largest last, so that nothing covers what the image is named after.
    for kind, place in reversed(scene):
        brush = _Brush(canvas, _contrast(ground, random), ink, max(1, round(side * width)))
        _SHAPES[kind](brush, place.enlarged(side), random)
    return picture.reduce(factor), label


# -- places ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Place:
    """Where a shape lies: its middle, the radius of the circle around it, and its rotation in radians."""

    x: float
    y: float
    radius: float
    turn: float

    def enlarged(self, factor: float) -> _Place:
        return _Place(factor * self.x, factor * self.y, factor * self.radius, self.turn)

    def polar(self, radius: float, angle: float) -> Point:
        """Return a point by its distance from the middle, in radii, and its angle."""
        distance = self.radius * radius
        return self.x + distance * math.cos(self.turn + angle), self.y + distance * math.sin(self.turn + angle)

    def box(self, left: float, top: float, right: float, bottom: float) -> list[Point]:
        """Return the corners of a rotated box, given in radii from the middle."""
        across, down = self.radius * math.cos(self.turn), self.radius * math.sin(self.turn)
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        return [(self.x + a * across - b * down, self.y + a * down + b * across) for a, b in corners]

    def circle(self, radius: float = 1.0) -> tuple[float, float, float, float]:
        """Return the bounding box of a circle around the middle, of a radius in radii."""
        r = self.radius * radius
        return self.x - r, self.y - r, self.x + r, self.y + r


def _free_place(taken: Sequence[_Place], radius: float, random: np.random.Generator) -> _Place:
    """Return the freest of a few places at random: shapes may overlap, but seldom hide each other."""
    tries = []
    for _ in range(4):
        x, y = random.uniform(0.05, 0.95, 2)
        tries.append(_Place(float(x), float(y), radius, random.uniform(0, 2 * math.pi)))
    return max(tries, key=lambda p: min(math.hypot(p.x - q.x, p.y - q.y) - q.radius for q in taken))


# -- colors -----------------------------------------------------------------------------------------------------------


def _rgb(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return red, green, blue


def _luminance(color: Color) -> float:
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def _ground_color(random: np.random.Generator) -> Color:
    """Return a pale color, or a strong one, or a dark one."""
    kind, hue = random.random(), random.random()
    if kind < 0.5:
        return _rgb(hue, random.uniform(0.08, 0.4), random.uniform(0.88, 1))
    if kind < 0.8:
        return _rgb(hue, random.uniform(0.55, 0.9), random.uniform(0.7, 1))
    return _rgb(hue, random.uniform(0.4, 0.9), random.uniform(0.25, 0.5))


def _neighbor(color: Color, random: np.random.Generator) -> Color:
    """Return the second color of a ground: of a near hue, lighter or darker, so that shapes still stand out."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in color))
    value += random.uniform(0.12, 0.25) * (1 if value < 0.6 else -1)
    return _rgb(hue + random.uniform(-0.08, 0.08), min(1, saturation + random.uniform(0, 0.25)), value)


def _contrast(ground: Color, random: np.random.Generator) -> Color:
    """Return a strong color, or white, that differs from the ground, in its luminance too: the images may be gray."""
    tries = [_rgb(random.random(), random.uniform(0.6, 1), random.uniform(0.6, 1)) for _ in range(2)]
    tries.append(_rgb(random.random(), random.uniform(0, 0.12), 1) if random.random() < 0.3 else tries[0])

    def distance(color: Color) -> float:
        return math.dist(color, ground) / 2 + abs(_luminance(color) - _luminance(ground))

    return max(tries, key=distance)


# -- drawing -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Brush:
    """What shapes are drawn with: the canvas, the fill, the outline's color, and its width in pixels."""

    canvas: ImageDraw.ImageDraw
    fill: Color
    ink: Color
    width: int

    def polygon(self, corners: Sequence[Point]) -> None:
        self.canvas.polygon(corners, fill=self.fill)
        # One corner more than a closed line, so that the joint of the last and the first line is round too.
        self.canvas.line([*corners, *corners[:2]], fill=self.ink, width=self.width, joint="curve")


def _paint_ground(canvas: ImageDraw.ImageDraw, side: int, color: Color, random: np.random.Generator) -> None:
    """Leave the ground plain, or paint stripes or one half in another color."""
    kind, turn = random.random(), random.uniform(0, 2 * math.pi)
    place = _Place(side / 2, side / 2, side, turn)
    step, shift, edge = random.uniform(0.12, 0.3), random.random(), random.uniform(-0.25, 0.25)
    if kind < 0.35:
        return
    if kind < 0.7:
        for n in range(math.ceil(2 / step) + 1):
            top = -1 + (n - shift) * step
            canvas.polygon(place.box(-1, top, 1, top + step / 2), fill=color)
    else:
        canvas.polygon(place.box(-1, edge, 1, 1), fill=color)


def _disc(brush: _Brush, place: _Place, _random: np.random.Generator) -> None:
    brush.canvas.ellipse(place.circle(0.9), fill=brush.fill, outline=brush.ink, width=brush.width)


def _rectangle(brush: _Brush, place: _Place, random: np.random.Generator) -> None:
    height = random.uniform(0.5, 0.8)
    width = math.sqrt(1.1 - height**2)
    brush.polygon(place.box(-width, -height, width, height))


def _triangle(brush: _Brush, place: _Place, random: np.random.Generator) -> None:
    bend = random.uniform(-0.4, 0.4, 3)
    brush.polygon([place.polar(1.1, 2 * math.pi * k / 3 + bend[k]) for k in range(3)])


def _star(brush: _Brush, place: _Place, random: np.random.Generator) -> None:
    points, inner = int(random.integers(4, 8)), random.uniform(0.4, 0.55)
    brush.polygon([place.polar(inner if k % 2 else 1.15, math.pi * k / points) for k in range(2 * points)])


def _stripes(brush: _Brush, place: _Place, random: np.random.Generator) -> None:
    bars, length = int(random.integers(2, 4)), random.uniform(0.75, 1)
    step = 1.8 / (bars - 0.4)
    for n in range(bars):
        brush.polygon(place.box(-length, -0.9 + n * step, length, -0.9 + (n + 0.6) * step))


def _ring(brush: _Brush, place: _Place, random: np.random.Generator) -> None:
    # Two outlines, one within the other: what lies in the hole stays.
    thick = round(place.radius * random.uniform(0.3, 0.45))
    brush.canvas.ellipse(place.circle(), outline=brush.ink, width=thick + 2 * brush.width)
    inner = 1 - brush.width / place.radius
    brush.canvas.ellipse(place.circle(inner), outline=brush.fill, width=max(1, thick))


_SHAPES: tuple[Callable[[_Brush, _Place, np.random.Generator], None], ...] = (
    _disc,
    _rectangle,
    _triangle,
    _star,
    _stripes,
    _ring,
)
