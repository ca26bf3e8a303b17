"""A folder of pictures, a subfolder per class."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Literal

import attrs
import torch
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError, Range
from gancore.tools import did_you_mean, listed
from gancore_standard.datasets.folders import cache_folder, exists, expand_user
from gancore_standard.datasets.image_cache import Pixels, cached, decode, decoded
from gancore_standard.datasets.resizing import ImageSize
from gancore_standard.datasets.splits import check_split

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""File name endings, in lower case, that are taken for pictures; other files are left aside."""

_TEST_FOLDERS = ("test", "val")


@attrs.frozen
class _Picture:
    path: Path
    label: int


class ImageFolder(Dataset):
    """Pictures in a folder, one subfolder per class; the classes are the subfolders in alphabetical order.

    The folder holds ``train/`` and ``test/`` (or ``val/``) with the class folders in each, or the class folders themselves;
    then evenly spaced pictures of each class, in the order of their names, are the test images.

    The pictures are decoded and resized once (shorter side to `image_size`, antialiased, center cut out), and kept as a
    memory-mapped array in the cache folder, which is made again when a file is added, removed or changed (name, size, time).

    Args:
        path: The folder; a relative one counts from where the command is started.
        image_size: Pixels a side.
        channels: 3 for color, 1 for gray.
        test_fraction: Share of each class's pictures to test on, where there is no ``train/`` folder.
        cache: Folder for the resized pictures; by default GANCORE_CACHE, or ``~/.cache/gancore``.
    """

    def __init__(
        self,
        *,
        path: str,
        image_size: ImageSize = 64,
        channels: Literal[1, 3] = 3,
        test_fraction: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        cache: str | None = None,
    ) -> None:
        self.path = expand_user(path)
        self.image_size = image_size
        self.channels = channels
        self.test_fraction = test_fraction
        self.cache = cache

    @property
    def info(self) -> DatasetInfo:
        """What is known from the names of the folders.

        Raises:
            GancoreError: The folder does not exist, or holds no class folders.
        """
        names = self._class_names()
        return DatasetInfo(len(names), self.channels, self.image_size, names)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, C, image_size, image_size) uint8, memory-mapped, and labels (N,) int64, class by class.

        Raises:
            GancoreError: A class has no image, an image can't be read, or the split has none.
        """
        check_split(split)
        pictures = self._pictures(split)
        images = cached(
            cache_folder(self.cache) / "images",
            f"{self.path.resolve().name}-{split}",
            [str(self.path.resolve()), [self._fingerprint(picture) for picture in pictures]],
            (len(pictures), self.channels, self.image_size, self.image_size),
            lambda: decoded(iter(pictures), self._decode),
        )
        return images, torch.tensor([picture.label for picture in pictures], dtype=torch.int64)

    def _decode(self, picture: _Picture) -> Pixels:
        return decode(picture.path, self.image_size, self.channels, name=str(picture.path))

    def _fingerprint(self, picture: _Picture) -> tuple[str, int, int]:
        try:
            status = picture.path.stat()
        except OSError as error:
            raise GancoreError(
                f"The image {picture.path} can't be read ({error.strerror}); remove or replace the file."
            ) from error
        return picture.path.relative_to(self.path).as_posix(), status.st_size, status.st_mtime_ns

    def _has_splits(self) -> bool:
        """Whether the folder holds ``train/`` with class folders, rather than the class folders themselves."""
        return bool(_subfolders(self.path / "train"))

    def _class_names(self) -> tuple[str, ...]:
        if not exists(self.path):
            raise GancoreError(f"The image folder {self.path} was not found; correct [data] path.")
        if self._has_splits():
            return _subfolders(self.path / "train")
        names = _subfolders(self.path)
        if not names or set(names) <= {"train", *_TEST_FOLDERS}:
            place = self.path / "train" if "train" in names else self.path
            raise GancoreError(
                f"{place} holds no class folders; put the images of each class in a folder of its own there "
                f"(of a single class: {place / 'all'})."
            )
        return names

    def _pictures(self, split: str) -> list[_Picture]:
        names = self._class_names()
        if not self._has_splits():
            return self._of_fraction(names, split)
        if split == "train":
            return _in_classes(self.path / "train", names, names)
        tests = [self.path / name for name in _TEST_FOLDERS if (self.path / name).is_dir()]
        if not tests:
            raise GancoreError(f"{self.path} has train/ but no test/ or val/ folder; add one with the same class folders.")
        classes = _subfolders(tests[0])
        for name in classes:
            if name not in names:
                raise GancoreError(
                    f"{tests[0] / name} is a class without training images{did_you_mean(name, names)}; "
                    f"rename it, or add {self.path / 'train' / name}."
                )
        if not classes:
            raise GancoreError(f"{tests[0]} holds no class folders; give it the class folders of {self.path / 'train'}.")
        return _in_classes(tests[0], classes, names)

    def _of_fraction(self, names: tuple[str, ...], split: str) -> list[_Picture]:
        chosen: list[_Picture] = []
        for label, name in enumerate(names):
            pictures = _listed(self.path / name, label)
            chosen += [p for place, p in enumerate(pictures) if self._is_test(place) == (split == "test")]
        if not chosen:
            raise GancoreError(
                f"{self.path} leaves no image to test on with test_fraction = {self.test_fraction}; "
                "raise test_fraction, or give the folder train/ and test/."
            )
        return chosen

    def _is_test(self, place: int) -> bool:
        # Evenly spaced: of the first n pictures of a class, floor(n * fraction) are test images, for every n.
        return math.floor((place + 1) * self.test_fraction) > math.floor(place * self.test_fraction)


def _in_classes(folder: Path, classes: tuple[str, ...], names: tuple[str, ...]) -> list[_Picture]:
    return [picture for name in classes for picture in _listed(folder / name, names.index(name))]


def _subfolders(folder: Path) -> tuple[str, ...]:
    if not exists(folder) or not folder.is_dir():
        return ()
    try:
        return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    except OSError as error:
        raise GancoreError(f"The folder {folder} can't be listed ({error.strerror}); allow reading it.") from error


def _listed(folder: Path, label: int) -> list[_Picture]:
    """Return the pictures of a class folder and all folders below it, ordered by path."""
    paths = [
        Path(parent) / name
        for parent, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")
    ]
    if not paths:
        raise GancoreError(
            f"The class folder {folder} holds no image ({listed(EXTENSIONS)}); add images, or remove the folder."
        )
    return [_Picture(path, label) for path in sorted(paths, key=lambda p: p.relative_to(folder).as_posix())]
