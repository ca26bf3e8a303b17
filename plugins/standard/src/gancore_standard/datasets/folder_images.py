"""The pictures of a folder, read by index: a million names take some 40 MB, and no file is opened before its turn."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from gancore_training import digest_of
from torch import Tensor

from gancore_standard.datasets.decoding import FORMAT, Background, Pixels, content_of_file, decode
from gancore_standard.datasets.pictures import Pictures


class Names:
    """The names of many files, each with a label, in one buffer."""

    def __init__(self) -> None:
        self._texts: list[bytes | memoryview] = []
        self._sizes: list[npt.NDArray[np.int32]] = []
        self._labels: list[int] = []

    def add(self, text: bytes | memoryview, sizes: npt.NDArray[np.int32], label: int) -> None:
        """Add names of one label, one behind the other in a text, and how many bytes of it each has (n,)."""
        self._texts.append(text)
        self._sizes.append(sizes)
        self._labels.append(label)

    def __len__(self) -> int:
        return sum(map(len, self._sizes))

    def finished(self) -> tuple[bytes, Tensor, Tensor]:
        """Return the text, where in it each name ends (N,) int32 if that is wide enough, and the labels (N,) int64."""
        whole = sum(map(len, self._texts))
        ends, labels = np.empty(len(self), np.int32 if whole < 2**31 else np.int64), np.empty(len(self), np.int64)
        at = 0
        for sizes, label in zip(self._sizes, self._labels, strict=True):
            ends[at : at + len(sizes)], labels[at : at + len(sizes)] = sizes, label
            at += len(sizes)
        return b"".join(self._texts), torch.from_numpy(np.cumsum(ends, out=ends)), torch.from_numpy(labels)


class FolderImages(Pictures):
    """The pictures of a split's class folders, decoded when they are wanted.

    Args:
        place: The folder that holds the class folders.
        above: What stands before a picture's name, by its label: its class folder and a slash, or nothing.
        names: Of the pictures, as paths from their class folders, in the order of the images.
        image_size: As for `decode`.
        channels: As for `decode`.
        background: As for `decode`.

    Attributes:
        labels: Labels (N,) int64.
    """

    def __init__(
        self, place: Path, above: Sequence[str], names: Names, image_size: int, channels: int, background: Background
    ) -> None:
        self.place, self.above, self.background = place, tuple(above), background
        self._text, self._ends, self.labels = names.finished()
        self.shape = torch.Size((len(self.labels), channels, image_size, image_size))

    def name(self, place: int) -> str:
        """Return the path of a picture from the folder that holds the class folders."""
        start = int(self._ends[place - 1]) if place else 0
        return f"{self.above[int(self.labels[place])]}{os.fsdecode(self._text[start : int(self._ends[place])])}"

    def path(self, place: int) -> str:
        """Return the file of a picture."""
        return f"{self.place}{os.sep}{self.name(place)}"

    def content(self, place: int) -> bytes:
        """Return a picture's file as it is.

        Raises:
            UnreadableError: It can't be read.
        """
        path = self.path(place)
        return content_of_file(path, name=path)

    def decode(self, content: bytes, *, name: str) -> Pixels:
        """Return what is seen of a picture's file (C, H, W) uint8; see `decode`."""
        return decode(content, self.shape[-1], self.shape[1], name=name, background=self.background)

    def picture(self, place: int) -> Pixels:
        """Return the image (C, H, W) uint8 at a place.

        Raises:
            UnreadableError: It can't be read.
        """
        path = self.path(place)
        return decode(path, self.shape[-1], self.shape[1], name=path, background=self.background)

    def stated(self, root: Path) -> list[tuple[str, int, int]]:
        """Return name from `root`, size and time of each file: what changes when they do."""
        above = self.place.relative_to(root).as_posix()
        above = "" if above == "." else f"{above}/"
        return [(f"{above}{name}", *_stated(self.place / name)) for name in map(self.name, range(len(self)))]

    @functools.cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Changes when the name, size or time of a file does, or how they are decoded."""
        return digest_of([FORMAT, list(self.shape), self.background, self.stated(self.place)], 32)


def _stated(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        # It is named, with all others that can't be read, when it is decoded.
        return 0, 0
    return status.st_size, status.st_mtime_ns
