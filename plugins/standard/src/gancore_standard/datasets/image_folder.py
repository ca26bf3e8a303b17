"""A folder of pictures, a subfolder per class."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import attrs
import click
import torch
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError, Range
from gancore.tools import distributed
from gancore_standard.datasets.class_folders import (
    ClassFolders,
    class_folders,
    inner_folders,
    loose_pictures,
    pictures_of_class,
    tested_classes,
    tested_folder,
    whole_folder,
)
from gancore_standard.datasets.decoding import Background, Pixels, decode, decoded
from gancore_standard.datasets.folders import expand_user
from gancore_standard.datasets.image_cache import cached
from gancore_standard.datasets.resizing import ImageSize
from gancore_standard.datasets.splits import check_split


@attrs.frozen
class _Picture:
    path: Path
    label: int


class ImageFolder(Dataset):
    """Pictures in a folder, one subfolder per class; the classes are the subfolders in alphabetical order.

    The folder holds ``train/`` (or ``training/``) and ``test/`` (``testing/``, ``val/``, ``valid/``, ``validation/``) with the
    class folders in each, or the class folders themselves; then evenly spaced pictures of each class, in the order of their
    names, are the test images. Hidden files and folders are left aside.

    The pictures are decoded and resized once (shorter side to `image_size`, antialiased, center cut out), and kept as a
    memory-mapped array in the cache folder (GANCORE_CACHE, or ``~/.cache/gancore``), which is made again when a file is added,
    removed or changed (name, size, time). Of an animation the first picture is taken, and a camera's orientation is obeyed.

    Args:
        path: The folder; a relative one counts from where the command is started.
        image_size: Pixels a side.
        channels: 3 for color, 1 for gray.
        test_fraction: Share of each class's pictures to test on, where there is no ``train/`` folder.
        background: What is seen through what is transparent.
        subfolders: Whether all that is in the folders of a class folder is of its class, also where they look like splits or
            like classes of their own.
        labels: Whether the folders are classes; false takes all pictures below the folder (or below its splits) as they are.
    """

    def __init__(
        self,
        *,
        path: str,
        image_size: ImageSize = 64,
        channels: Literal[1, 3] = 3,
        test_fraction: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        background: Background = "white",
        subfolders: bool = False,
        labels: bool = True,
    ) -> None:
        self.path = expand_user(path)
        self.image_size = image_size
        self.channels = channels
        self.test_fraction = test_fraction
        self.background: Background = background
        self.subfolders = subfolders
        self.labels = labels

    @property
    def info(self) -> DatasetInfo:
        """What is known from the names of the folders.

        Raises:
            GancoreError: The folder does not exist, or holds no class folders.
        """
        names = self._folders().names
        return DatasetInfo(len(names), self.channels, self.image_size, names)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, C, image_size, image_size) uint8, memory-mapped, and labels (N,) int64, class by class.

        Raises:
            GancoreError: A class has no image, or folders that may be classes or splits; images can't be read; or the split
                has none.
        """
        check_split(split)
        pictures = self._pictures(split)
        images = cached(
            f"{self.path.resolve().name}-{split}",
            [str(self.path.resolve()), self.background, [self._fingerprint(picture) for picture in pictures]],
            (len(pictures), self.channels, self.image_size, self.image_size),
            lambda: decoded(iter(pictures), self._decode),
        )
        return images, torch.tensor([picture.label for picture in pictures], dtype=torch.int64)

    def _decode(self, picture: _Picture) -> Pixels:
        return decode(picture.path, self.image_size, self.channels, name=str(picture.path), background=self.background)

    def _fingerprint(self, picture: _Picture) -> tuple[str, int, int]:
        name = picture.path.relative_to(self.path).as_posix()
        try:
            status = picture.path.stat()
        except OSError:
            # It is named, with all others that can't be read, when it is decoded.
            return name, 0, 0
        return name, status.st_size, status.st_mtime_ns

    def _folders(self) -> ClassFolders:
        return class_folders(self.path) if self.labels else whole_folder(self.path)

    def _pictures(self, split: str) -> list[_Picture]:
        folders = self._folders()
        place, classes = folders.train, folders.names
        if folders.split and split == "test":
            place, classes = tested_classes(folders, self.path) if self.labels else (tested_folder(folders, self.path), classes)
        if self.labels:
            by_class = {name: pictures_of_class(place / name, nested=self.subfolders) for name in classes}
            self._tell(place, by_class)
        else:
            by_class = dict.fromkeys(classes, pictures_of_class(place, nested=True))
        chosen = [
            _Picture(path, folders.names.index(name))
            for name, paths in by_class.items()
            for number, path in enumerate(paths)
            if folders.split or is_test(number, self.test_fraction) == (split == "test")
        ]
        if not chosen:
            raise GancoreError(
                f"{self.path} leaves no image to test on with test_fraction = {self.test_fraction}; "
                "raise test_fraction, or give the folder train/ and test/."
            )
        return chosen

    def _tell(self, place: Path, by_class: dict[str, list[Path]]) -> None:
        """Say what of a folder may be read in another way than it was meant."""
        inner = [place / name / one for name, paths in by_class.items() for one in inner_folders(place / name, paths)]
        loose = loose_pictures(place)
        if distributed.rank() == 0 and inner and not self.subfolders:
            click.echo(
                f"Note: images in {len(inner)} subfolders of class folders (as {inner[0]}) are of these classes.", err=True
            )
        if distributed.rank() == 0 and loose:
            click.echo(f"Note: {loose} images in {place} are in no class folder, and are left aside.", err=True)


def is_test(place: int, fraction: float) -> bool:
    """Return whether a picture at a place among those of its class is a test image."""
    # Evenly spaced: of the first n pictures of a class, floor(n * fraction) are test images, for every n.
    return math.floor((place + 1) * fraction) > math.floor(place * fraction)
