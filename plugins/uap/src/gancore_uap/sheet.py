"""A sheet to draw pictures on: texts that fit, lines, dots and enlarged images."""

from __future__ import annotations

import bisect
import functools
import math
import re
import unicodedata
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Color = tuple[int, int, int]

_OVER = 2
"""Everything is drawn larger by this factor, and reduced, for smooth text and lines."""

TEXT, FAINT, RULE = (45, 45, 45), (115, 115, 115), (225, 225, 225)

WARNING: Color = (200, 70, 0)

_SHAPES: tuple[tuple[tuple[float, float], ...], ...] = (
    (),
    ((-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)),
    ((0, -5), (5, 0), (0, 5), (-5, 0)),
    ((0, -5), (4.5, 3.5), (-4.5, 3.5)),
)
"""Corners of dots around their middle, in pixels; a disc has none. One shape for each round of the colors."""

FONT, SMALL = 14.0, 12.5


class Sheet:
    """A picture that is drawn larger and reduced; all coordinates and sizes are those of the reduced one.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = math.ceil(width), math.ceil(height)
        self.picture = Image.new("RGB", (_OVER * self.width, _OVER * self.height), "white")
        self.canvas = ImageDraw.Draw(self.picture)

    def text(self, x: float, y: float, text: str, font: float, anchor: str, color: Color = TEXT) -> None:
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


def plain_text(text: str) -> str:
    """Return a text in the characters that PIL's own font has."""
    # It draws a box for any other.
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return " ".join(bare.encode("ascii", "replace").decode().split()) or "?"


@functools.cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(_OVER * size)


def text_width(text: str, font: float) -> float:
    """Return the width of one line in pixels."""
    return float(_font(font).getlength(text)) / _OVER


def fit_text(text: str, width: float, font: float, lines: int) -> list[str]:
    """Return a text as lines of a width in pixels, broken where it can be, and cut where it is too long."""
    # A line may end after a space, and after what joins the words of names and paths.
    pieces = re.findall(r"[^\s_/-]*[_/-]+\s*|[^\s_/-]+\s*", plain_text(text))
    fitted = [""]
    for piece in pieces:
        if fitted[-1] and len(fitted) < lines and text_width((fitted[-1] + piece).rstrip(), font) > width:
            fitted.append("")
        # A word that is wider than a line goes on in the next.
        while len(fitted) < lines and text_width((fitted[-1] + piece).rstrip(), font) > width:
            room = max(1, _room(piece, width, font))
            fitted[-1] += piece[:room]
            piece = piece[room:]
            fitted.append("")
        fitted[-1] += piece
    return [_cut(line.rstrip(), width, font) for line in fitted if line]


def _cut(text: str, width: float, font: float) -> str:
    if text_width(text, font) <= width:
        return text
    return f"{text[: _room(text, width, font, '…')].rstrip()}…"


def _room(text: str, width: float, font: float, end: str = "") -> int:
    """Return how many of a text's letters fit in a width, with an end after them."""
    return bisect.bisect_right(range(1, len(text) + 1), width, key=lambda number: text_width(text[:number] + end, font))
