"""LSUN scenes: one LMDB per class, of which the first records are taken."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError, Range
from gancore_standard.datasets.decoding import Pixels, decode, decoded
from gancore_standard.datasets.folders import data_root, exists
from gancore_standard.datasets.image_cache import cached
from gancore_standard.datasets.resizing import ImageSize
from gancore_standard.datasets.splits import check_split

TRAIN_HEAD = 2000
"""Records per class of the evaluation split ``"train_head"``."""


class LsunClasses(Dataset):
    """Scenes of LSUN, labeled by category (Yu et al. 2015): by default the five rooms of CBGAN, 50 000 images each.

    Reads ``lsun/<category>_train_lmdb`` and ``lsun/<category>_val_lmdb``. Of each category the first records of the database
    are taken, as CBGAN's published code does (no random subset). They are decoded and resized once (shorter side to
    `image_size`, antialiased, center cut out), and kept as a memory-mapped array in the cache folder.

    Args:
        root: Folder that holds ``lsun/``, in place of GANCORE_DATA.
        categories: The classes, in the order of their labels.
        per_class: Training images per class; a database with fewer gives all that it has.
        evaluation: What the split ``"test"`` is: ``"validation"``, LSUN's 300 validation images per class, as the paper
            says; or ``"train_head"``, the first 2000 training images per class, as the paper's code does.
        image_size: Pixels a side.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        categories: tuple[str, ...] = ("bedroom", "conference_room", "dining_room", "kitchen", "living_room"),
        per_class: Annotated[int, Range(1)] = 50_000,
        evaluation: Literal["validation", "train_head"] = "validation",
        image_size: ImageSize = 64,
    ) -> None:
        if not categories or len(set(categories)) != len(categories):
            raise GancoreError(f"categories must name each class once, and at least one, not {list(categories)}.")
        self.root = root
        self.categories = tuple(categories)
        self.per_class = per_class
        self.evaluation = evaluation
        self.image_size = image_size

    @property
    def info(self) -> DatasetInfo:
        """What is known before an image is read."""
        return DatasetInfo(len(self.categories), 3, self.image_size, self.categories)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, 3, image_size, image_size) uint8, memory-mapped, and labels (N,) int64, class by class.

        Raises:
            GancoreError: lmdb is not installed, a database is missing or damaged, or an image can't be read.
        """
        check_split(split)
        lmdb = _lmdb()
        validation = split == "test" and self.evaluation == "validation"
        limit = None if validation else self.per_class if split == "train" else TRAIN_HEAD
        folders = [self._folder(category, "val" if validation else "train") for category in self.categories]
        counts = [_count(lmdb, folder, limit) for folder in folders]
        images = cached(
            f"lsun-{split}",
            [_fingerprint(folder, count) for folder, count in zip(folders, counts, strict=True)],
            (sum(counts), 3, self.image_size, self.image_size),
            lambda: decoded(_records(lmdb, folders, counts), self._decode),
        )
        return images, torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))

    def _folder(self, category: str, split: str) -> Path:
        folder = data_root(self.root) / "lsun" / f"{category}_{split}_lmdb"
        if not (exists(folder / "data.mdb") and (folder / "data.mdb").is_file()):
            raise GancoreError(
                f"LSUN's {category} is not here: {folder / 'data.mdb'} was not found; unpack {folder.name} there, or set "
                "GANCORE_DATA (or [data] root) to the folder that holds lsun/."
            )
        return folder

    def _decode(self, record: tuple[str, bytes]) -> Pixels:
        name, content = record
        return decode(content, self.image_size, 3, name=name)


def _lmdb() -> ModuleType:
    try:
        import lmdb
    except ImportError as error:
        raise GancoreError(
            'LSUN is kept in LMDB files; install their reader with: pip install "gancore-plugin-standard[lsun]".'
        ) from error
    module: ModuleType = lmdb
    return module


def _opened(lmdb: ModuleType, folder: Path) -> Any:
    try:
        return lmdb.open(str(folder), readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        raise GancoreError(f"The database {folder} can't be read ({error}); unpack it again.") from error


def _count(lmdb: ModuleType, folder: Path, limit: int | None) -> int:
    with _opened(lmdb, folder) as database:
        entries: int = database.stat()["entries"]
    if entries == 0:
        raise GancoreError(f"The database {folder} holds no image; unpack it again.")
    return entries if limit is None else min(entries, limit)


def _records(lmdb: ModuleType, folders: list[Path], counts: list[int]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the first records of each database, in the order of their keys."""
    for folder, count in zip(folders, counts, strict=True):
        with _opened(lmdb, folder) as database, database.begin() as reader:
            for key, content in islice(reader.cursor(), count):
                yield f"{key.decode(errors='replace')} of {folder}", content


def _fingerprint(folder: Path, count: int) -> tuple[str, int, int, int]:
    status = (folder / "data.mdb").stat()
    return str(folder.resolve()), count, status.st_size, status.st_mtime_ns
