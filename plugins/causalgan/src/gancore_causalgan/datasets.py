"""Drawn faces whose attributes follow a known causal model, and the attributes of any image set as points."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from gancore_standard.tools import ImageSize, check_split
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError, Range
from gancore.tools import check, load_split, registry

NAMES = ("male", "smiling", "mustache")

CHANCES: dict[str, tuple[str | None, float, float]] = {
    "male": (None, 0.5, 0.5),
    "smiling": ("male", 0.7, 0.4),
    "mustache": ("male", 0.1, 0.6),
}
"""For each attribute its cause, and how often it is there without and with that. Nothing is impossible, as Theorem 1 asks."""


def draw_attributes(number: int, noise: torch.Generator, do: dict[str, int] | None = None) -> Tensor:
    """Return attributes (N, 3) int64 of the causal model male -> smiling, male -> mustache.

    Args:
        number: How many.
        noise: What they are drawn from.
        do: Attributes that are set from outside, to 0 or 1.
    """
    values: dict[str | None, Tensor] = {None: torch.zeros(number)}
    for name, (cause, without, having) in CHANCES.items():
        drawn = torch.rand(number, generator=noise) < torch.where(values[cause] > 0, having, without)
        values[name] = torch.full((number,), float(do[name])) if do and name in do else drawn.float()
    return torch.stack([values[name] for name in NAMES], 1).long()


def draw_faces(attributes: Tensor, size: int, noise: torch.Generator) -> Tensor:
    """Return images (N, 1, size, size) uint8 of faces with such attributes (N, 3): who has which differs in one feature each.

    A woman has long hair at both sides of the face; a smile bends the mouth's corners up, and down where there is none; a
    mustache is a dark bar over the mouth. Place, size and shades vary.
    """
    male, smiling, mustache = (column[:, None, None].float() for column in attributes.unbind(1))
    shift, shade = torch.rand((2, len(attributes), 2, 1, 1), generator=noise)
    scale = 0.9 + 0.2 * torch.rand((len(attributes), 1, 1), generator=noise)
    ticks = (torch.arange(size) + 0.5) / size * 2 - 1
    y = (ticks[None, :, None] - 0.2 * (shift[:, 0] - 0.5)) / scale
    x = (ticks[None, None, :] - 0.2 * (shift[:, 1] - 0.5)) / scale

    def inside(depth: Tensor) -> Tensor:
        """Return how much of a pixel lies inside, where `depth` is above 0."""
        return (0.5 + depth * size / 2).clamp(0, 1)

    skin, hair = 0.75 + 0.2 * shade[:, 0], 0.35 + 0.15 * shade[:, 1]
    picture = torch.zeros(1)
    layers = [
        (inside(torch.minimum(0.85 - x.abs(), torch.minimum(0.75 - y, y + 0.75))) * (1 - male), hair),
        (inside(0.62 - (x.square() + (0.85 * y).square()).sqrt()), skin),
        (inside(torch.minimum(0.62 - (x.square() + (0.85 * y).square()).sqrt(), -0.4 - y)), hair),
        (inside(0.11 - ((x.abs() - 0.26).square() + (y + 0.12).square()).sqrt()), torch.zeros(1)),
        (inside(torch.minimum(0.3 - x.abs(), 0.08 - (y - 0.2).abs())) * mustache, 0.5 * hair),
        (inside(torch.minimum(0.34 - x.abs(), 0.07 - (y - 0.42 - (1 - 2 * smiling) * (1.6 * x.square() - 0.08)).abs())), 0.1),
    ]
    for cover, value in layers:
        picture = picture * (1 - cover) + cover * value
    return (255 * picture.clamp(0, 1)).round().to(torch.uint8)[:, None]


class Faces(Dataset):
    """Drawn faces with the attributes male, smiling and mustache, of a causal model: male -> smiling, male -> mustache.

    Half of them are men; 40 % of these smile, and 70 % of the women; 60 % of the men have a mustache, and 10 % of the women.
    Drawn anew each time, always alike.

    Args:
        image_size: Pixels a side.
        images: Of the training split; the test split has a quarter of them.
        independent: Each attribute by itself, half of the time: what a judge of single attributes learns from.
    """

    def __init__(
        self, *, image_size: ImageSize = 16, images: Annotated[int, Range(4)] = 4000, independent: bool = False
    ) -> None:
        self.image_size, self.images, self.independent = image_size, images, independent

    @property
    def info(self) -> DatasetInfo:
        """What is known before an image is read."""
        return DatasetInfo(0, 1, self.image_size, NAMES, attributes=len(NAMES))

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, 1, image_size, image_size) uint8 and attributes (N, 3) int64 of ``"train"`` or ``"test"``."""
        check_split(split)
        noise = torch.Generator().manual_seed(1 + (split == "test"))
        number = self.images if split == "train" else self.images // 4
        if self.independent:
            attributes = torch.randint(0, 2, (number, len(NAMES)), generator=noise)
        else:
            attributes = draw_attributes(number, noise)
        return draw_faces(attributes, self.image_size, noise), attributes


class Attributes(Dataset):
    """The attributes of another set's images as points (A, 1, 1), -1 for an attribute that is not there and 1 for one that is.

    What a causal controller is trained on.

    Args:
        of: The other set, e.g. ``causalgan/faces``.
        settings: Its settings.
    """

    def __init__(self, *, of: str, settings: dict[str, Any] | None = None) -> None:
        declared = registry().component("dataset", of, where="causalgan/attributes: of")
        cls = registry().load(declared)
        self.of: Dataset = cls(**check(cls, settings or {}, where=f"causalgan/attributes: settings of {of}"))
        if not self.of.info.attributes:
            raise GancoreError(f"{of} has no attributes, but classes; name a set of images with attributes.")

    @property
    def info(self) -> DatasetInfo:
        """What is known before an image is read."""
        return DatasetInfo(1, self.of.info.attributes, 1, ("any",), continuous=True)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return points (N, A, 1, 1) float32 and labels (N,) of 0."""
        _, attributes = load_split(self.of, split)
        points = 2.0 * attributes.float() - 1
        return points[:, :, None, None], torch.zeros(len(points), dtype=torch.int64)
