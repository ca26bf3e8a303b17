"""Writing samples: one file, or a folder of single images, by class where that is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from torch import Tensor

from gancore import DatasetInfo, GancoreError
from gancore.tools import parameters_of
from gancore_training.sampling import image_format, shows_labels, suffixes

if TYPE_CHECKING:
    from gancore.tools import Registry, Run

_SAFE = re.compile(r"\w(?:[\w .()+,-]{0,98}[\w)+-])?")
"""Names of classes, which a run from a stranger may have chosen, that are names of folders and nothing else anywhere."""


def class_folders(info: DatasetInfo) -> list[str]:
    """Return the names of the folders for single images of each class: those of the classes, or their numbers.

    Numbers stand where the data name no classes, or where names are no names of folders, or not distinct as such.
    """
    names = [name.strip() for name in info.class_names]
    if len({name.casefold() for name in names}) == info.classes and all(map(_SAFE.fullmatch, names)):
        return names
    width = len(str(info.classes - 1))
    return [f"{label:0{width}d}" for label in range(info.classes)]


@attrs.frozen
class SampleFiles:
    """Where samples are written.

    A path that ends in a suffix is one file, by whose suffix a plugin writes it; any other is a folder, which must be new or
    empty, with a file for each image.

    Args:
        path: The file or folder.
        registry: The installed plugins.
        by_class: Whether a folder holds one for each class.

    Raises:
        GancoreError: No plugin writes such files, the folder holds other files, or a single file is asked for by class.
    """

    path: Path
    registry: Registry
    by_class: bool = False

    def __attrs_post_init__(self) -> None:
        if self.alone and self.path.is_dir() and any(self.path.iterdir()):
            raise GancoreError(f"{self.path} holds other files; name a new folder by --out, or a file such as x.png.")
        if self.by_class and not self.alone:
            raise GancoreError(
                f"--by-class is for a folder of single images, and {self.path} is one file; name a folder by --out."
            )
        image_format(self._single(0) if self.alone else self.path, self.registry)

    @property
    def alone(self) -> bool:
        """Whether each image has a file of its own."""
        return self.path.is_dir() or not self.path.suffix

    def check(self, run: Run) -> None:
        """Refuse folders of classes for images that have none.

        Raises:
            GancoreError: The run's images go with no class.
        """
        if self.by_class and not (run.plan.info.classes > 1 and shows_labels(run)):
            raise GancoreError(f"{run.recipe.name} generates images of no class that is asked for; leave out --by-class.")

    def write(self, run: Run, images: Tensor, labels: Tensor) -> None:
        """Write images (N, C, H, W) in [-1, 1], and their labels where the format holds some and the generator heeds them.

        Raises:
            GancoreError: A file can't be written.
        """
        write = image_format(self._single(0) if self.alone else self.path, self.registry)
        if not self.alone:
            known = "labels" in parameters_of(write) and shows_labels(run)
            write(images, self.path, **({"labels": labels} if known else {}))
            return
        for image, path in zip(images.split(1), self._paths(run, labels), strict=True):
            write(image, path, columns=0)

    def _paths(self, run: Run, labels: Tensor) -> Iterator[Path]:
        folders = class_folders(run.plan.info) if self.by_class else []
        for place, label in enumerate(labels.tolist()):
            yield self._single(place, folders[label] if folders else "")

    def _single(self, place: int, folder: str = "") -> Path:
        return self.path / folder / f"{place:06d}.{next(iter(suffixes(self.registry)), 'png')}"
