"""Writing generated images, in the formats that plugins bring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gancore.errors import GancoreError, listed

if TYPE_CHECKING:
    from torch import Tensor

    from gancore.recipe import Registry

NONE = "no installed plugin writes images; try `pip install 'gancore[all]'`"


class ImageFormat(Protocol):
    """Writes images (N, C, H, W) in [-1, 1] to one file, in a grid of so many columns."""

    def __call__(self, images: Tensor, path: Path, *, columns: int | None = None) -> None:
        """Write the file."""


def suffixes(registry: Registry) -> list[str]:
    """Return the suffixes of files that images can be written to; the first one is used where none is asked for."""
    names = {component.name for component in registry.components("image-format")}
    return sorted(names, key=lambda name: (name != "png", name))


def image_format(path: Path, registry: Registry) -> ImageFormat:
    """Return what writes images to a file, by the file's suffix.

    Raises:
        GancoreError: No plugin writes such files, or several do.
    """
    suffix = path.suffix.removeprefix(".").lower()
    known = suffixes(registry)
    if suffix not in known:
        remedy = f"end its name in one of these: {listed(f'.{name}' for name in known)}." if known else f"{NONE}."
        raise GancoreError(f"{path} can't be written: {remedy}")
    writer: ImageFormat = registry.load(registry.component("image-format", suffix, where=str(path)))
    return writer
