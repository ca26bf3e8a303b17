"""LSUN scenes: one LMDB per class, of which the first records are taken."""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import numpy as np
import torch
from gancore_training import digest_of
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError, Range, Rows
from gancore_standard.datasets.decoding import FORMAT, Pixels, decode, decoded
from gancore_standard.datasets.folder_images import Names
from gancore_standard.datasets.folders import data_root, exists
from gancore_standard.datasets.image_cache import cached
from gancore_standard.datasets.pictures import SMALL, Pictures
from gancore_standard.datasets.resizing import ImageSize
from gancore_standard.datasets.splits import check_split

TRAIN_HEAD = 2000
"""Records per class of the evaluation split ``"train_head"``."""


class LsunClasses(Dataset):
    """Scenes of LSUN, labeled by category (Yu et al. 2015): by default the five rooms of CBGAN, 50 000 images each.

    Reads ``lsun/<category>_train_lmdb`` and ``lsun/<category>_val_lmdb``. Of each category the first records of the database
    are taken, as CBGAN's published code does (no random subset). They are decoded and resized (shorter side to
    `image_size`, antialiased, center cut out).

    Args:
        root: Folder that holds ``lsun/``, in place of GANCORE_DATA.
        categories: The classes, in the order of their labels.
        per_class: Training images per class; a database with fewer gives all that it has.
        evaluation: What the split ``"test"`` is: ``"validation"``, LSUN's 300 validation images per class, as the paper
            says; or ``"train_head"``, the first 2000 training images per class, as the paper's code does.
        image_size: Pixels a side.
        keep: As for `image-folder`: ``pixels``, a memory-mapped array in the cache folder; ``nothing``, they are decoded when
            they are wanted; ``auto``, pixels where these take at most 1 GiB. The images are the same to the last bit.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        categories: tuple[str, ...] = ("bedroom", "conference_room", "dining_room", "kitchen", "living_room"),
        per_class: Annotated[int, Range(1)] = 50_000,
        evaluation: Literal["validation", "train_head"] = "validation",
        image_size: ImageSize = 64,
        keep: Literal["auto", "pixels", "nothing"] = "auto",
    ) -> None:
        if not categories or len(set(categories)) != len(categories):
            raise GancoreError(f"categories must name each class once, and at least one, not {list(categories)}.")
        self.root = root
        self.categories = tuple(categories)
        self.per_class = per_class
        self.evaluation = evaluation
        self.image_size = image_size
        self.keep = keep

    @property
    def info(self) -> DatasetInfo:
        """What is known before an image is read."""
        return DatasetInfo(len(self.categories), 3, self.image_size, self.categories)

    def load(self, split: str) -> tuple[Rows, Tensor]:
        """Return images (N, 3, image_size, image_size) uint8 and labels (N,) int64, class by class.

        The images are a memory-mapped tensor, or are read by index; see `keep`.

        Raises:
            GancoreError: lmdb is not installed, a database is missing or damaged, or, where an array is made, an image can't be
                read.
        """
        check_split(split)
        _lmdb()
        validation = split == "test" and self.evaluation == "validation"
        limit = None if validation else self.per_class if split == "train" else TRAIN_HEAD
        folders = [self._folder(category, "val" if validation else "train") for category in self.categories]
        images = LsunImages(folders, limit, self.image_size)
        if self.keep == "nothing" or (self.keep == "auto" and images.shape.numel() > SMALL):
            return images, images.labels
        array = cached(
            f"lsun-{split}", images.stated(), images.shape, lambda: decoded(iter(range(len(images))), images.picture)
        )
        return array, images.labels

    def _folder(self, category: str, split: str) -> Path:
        folder = data_root(self.root) / "lsun" / f"{category}_{split}_lmdb"
        if not (exists(folder / "data.mdb") and (folder / "data.mdb").is_file()):
            raise GancoreError(
                f"LSUN's {category} is not here: {folder / 'data.mdb'} was not found; unpack {folder.name} there, or set "
                "GANCORE_DATA (or [data] root) to the folder that holds lsun/."
            )
        return folder


class LsunImages(Pictures):
    """The first records of some databases, read by index and decoded when they are wanted.

    Args:
        folders: The databases, one a class.
        limit: Records of each that are taken; None for all.
        image_size: Pixels a side.

    Attributes:
        labels: Labels (N,) int64.

    Raises:
        GancoreError: A database can't be read, or holds no image.
    """

    background = "white"

    def __init__(self, folders: Sequence[Path], limit: int | None, image_size: int) -> None:
        self.folders = tuple(folders)
        names = Names()
        for label, folder in enumerate(folders):
            keys = _database(folder).keys(limit)
            names.add(b"".join(keys), np.fromiter(map(len, keys), np.int32, len(keys)), label)
        self._text, self._ends, self.labels = names.finished()
        self.shape = torch.Size((len(self.labels), 3, image_size, image_size))
        self._databases: dict[int, _Database] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs, which opens the databases for itself."""
        return {**self.__dict__, "_databases": {}}

    def _record(self, place: int) -> tuple[str, bytes]:
        label = int(self.labels[place])
        key = self._text[int(self._ends[place - 1]) if place else 0 : int(self._ends[place])]
        if label not in self._databases:
            self._databases[label] = _database(self.folders[label])
        return f"{key.decode(errors='replace')} of {self.folders[label]}", self._databases[label].content(key)

    def content(self, place: int) -> bytes:
        """Return a picture as its database holds it.

        Raises:
            GancoreError: It can't be read.
        """
        return self._record(place)[1]

    def picture(self, place: int) -> Pixels:
        """Return the image (C, H, W) uint8 at a place.

        Raises:
            GancoreError: It can't be read.
        """
        name, content = self._record(place)
        return decode(content, self.shape[-1], 3, name=name)

    def stated(self) -> list[tuple[str, int, int, int]]:
        """Return path, number of images, size and time of each database: what changes when it does."""
        counts = torch.bincount(self.labels, minlength=len(self.folders)).tolist()
        return [_stated(folder, count) for folder, count in zip(self.folders, counts, strict=True)]

    @functools.cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Changes when a database does, or how pictures are decoded."""
        return digest_of([FORMAT, list(self.shape), self.stated()], 32)


def _lmdb() -> ModuleType:
    try:
        import lmdb
    except ImportError as error:
        raise GancoreError(
            'LSUN is kept in LMDB files; install their reader with: pip install "gancore-plugin-standard[lsun]".'
        ) from error
    module: ModuleType = lmdb
    return module


class _Database:
    """An open database; each is opened once a process, for LMDB allows no more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with self._reading():
            self.environment = _lmdb().open(str(folder), readonly=True, lock=False, readahead=False, meminit=False)

    def keys(self, limit: int | None) -> list[bytes]:
        """Return the keys of the first records, or of all."""
        with self._reading(), self.environment.begin() as reader:
            keys = list(islice(reader.cursor().iternext(keys=True, values=False), limit))
        if not keys:
            raise GancoreError(f"The database {self.folder} holds no image; unpack it again.")
        return keys

    def content(self, key: bytes) -> bytes:
        with self._reading(), self.environment.begin() as reader:
            content: bytes | None = reader.get(key)
        if content is None:
            raise GancoreError(f"The database {self.folder} has changed while it was read; start again.")
        return content

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except _lmdb().Error as error:
            raise GancoreError(f"The database {self.folder} can't be read ({error}); unpack it again.") from error


_open: weakref.WeakValueDictionary[tuple[str, int, int, int], _Database] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def _database(folder: Path) -> _Database:
    with _opening:
        try:
            key = _stated(folder, 0)
        except OSError as error:
            raise GancoreError(f"The database {folder} can't be read ({error.strerror}); unpack it again.") from error
        database = _open.get(key)
        if database is None:
            _open[key] = database = _Database(folder)
        return database


def _stated(folder: Path, count: int) -> tuple[str, int, int, int]:
    status = (folder / "data.mdb").stat()
    return str(folder.resolve()), count, status.st_size, status.st_mtime_ns
