"""A set of the Hugging Face Hub, or a folder that ``datasets`` reads, as an image set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from gancore_standard.tools import DECODING, SMALL, Background, ImageSize, Pictures, Pixels, check_split, decode
from gancore_training import digest_of
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError, Rows
from gancore.tools import first_line, listed
from gancore_hub.opening import library, opened


class HubDataset(Dataset):
    """A data set of the Hugging Face Hub, or a folder that the library ``datasets`` reads.

    Pictures are decoded and resized as those of `standard/image-folder` are: shorter side to `image_size`, antialiased, center
    cut out, 16 bits scaled to 8. The classes are those of a `ClassLabel` column. The splits are the set's own; one that has no
    test split may be cut: ``train = "train[:90%]"``, ``test = "train[90%:]"`` (not where `save_to_disk` has written it).

    Args:
        name: A folder (of `save_to_disk`, or with data files: parquet, or pictures in class folders), else a name on the Hub. A
            relative folder counts from where the command is started.
        config: The set's configuration, where it has several.
        revision: Commit, tag or branch on the Hub; without it the latest that is there.
        train: The set's split to train on.
        test: The set's split to test on.
        image: Column of the pictures; without it the only one of type `Image`.
        label: Column of the classes; without it the only one of type `ClassLabel`.
        labels: Whether there are classes; false takes all pictures as of one.
        image_size: Pixels a side.
        channels: 3 for color, 1 for gray.
        background: What is seen through what is transparent.
        keep: ``pixels``: all images are held in memory. ``nothing``: they are read when they are wanted, by ``run.workers``
            processes ahead of the training. ``auto``: in memory where their pixels take at most 1 GiB. The images are the same.
        download: Fetch the set into the cache of ``datasets`` (HF_HOME) where it is missing. Without it nothing is asked of the
            network.
    """

    def __init__(
        self,
        *,
        name: str,
        config: str | None = None,
        revision: str | None = None,
        train: str = "train",
        test: str = "test",
        image: str | None = None,
        label: str | None = None,
        labels: bool = True,
        image_size: ImageSize = 64,
        channels: Literal[1, 3] = 3,
        background: Background = "white",
        keep: Literal["auto", "pixels", "nothing"] = "auto",
        download: bool = False,
    ) -> None:
        self.name, self.config, self.revision = name, config, revision
        self.splits = {"train": train, "test": test}
        self.image, self.label, self.labels = image, label, labels
        self.image_size, self.channels, self.background = image_size, channels, background
        self.keep, self.download = keep, download
        self._opened: dict[str, Any] = {}

    @property
    def info(self) -> DatasetInfo:
        """What the set says of its columns.

        Raises:
            GancoreError: As `load`, but for what it says of images.
        """
        names = self._names("train")
        return DatasetInfo(len(names), self.channels, self.image_size, names)

    def load(self, split: str) -> tuple[Rows, Tensor]:
        """Return images (N, C, image_size, image_size) uint8, in memory or read by index, and labels (N,) int64.

        Raises:
            GancoreError: ``datasets`` is missing; the set or the split is not there, or gated; a column is missing, of another
                type or empty in a row; or images that are held in memory can't be read.
        """
        check_split(split)
        rows, names = self._rows(split), self._names(split)
        if names != self._names("train"):
            raise GancoreError(
                f"The splits of {self._called} have different classes; choose [data] train and test of one kind."
            )
        images = HubImages(self, rows, self._column(split, "Image"), split)
        labels = self._labels(split) if self.labels else torch.zeros(len(images), dtype=torch.int64)
        held = self.keep == "pixels" or (self.keep == "auto" and images.shape.numel() <= SMALL)
        return (images[:] if held else images), labels

    @property
    def _called(self) -> str:
        return f"the data set {self.name[-80:]}"

    def _rows(self, split: str) -> Any:
        """Return a split as ``datasets`` gives it, opened once."""
        if split not in self._opened:
            library()
            own = self.splits[split]
            try:
                self._opened[split] = opened(self.name, self.config, self.revision, own, download=self.download)
            except Exception as error:
                # The library raises errors of many others: of requests, of files, of Arrow.
                offline = ", or set [data] download = true to fetch it"
                online = "; where it is gated, accept its terms on its page and log in by `hf auth login`"
                raise GancoreError(
                    f"The split {own[:40]!r} of {self._called} can't be opened ({first_line(error)[:110]}); "
                    f"correct [data] name, config, train or test{online if self.download else offline}."
                ) from error
        return self._opened[split]

    def _column(self, split: str, kind: Literal["Image", "ClassLabel"]) -> str:
        """Return the column of pictures or of classes: the one that is named, else the only one of the type."""
        features = self._rows(split).features
        key, named = ("image", self.image) if kind == "Image" else ("label", self.label)
        fitting = [column for column, feature in features.items() if isinstance(feature, getattr(library(), kind))]
        if named in fitting or (named is None and len(fitting) == 1):
            return named or fitting[0]
        problem = f"{len(fitting) or 'no'} columns of type {kind}" if named is None else f"no column {named[:40]!r}"
        if named in features:
            problem = f"a column {named!r} of type {type(features[named]).__name__}, not {kind}"
        others = f" (of that type: {listed(fitting)[:60]}; all: {listed(features)[:80]})"
        without = ", or labels = false" if kind == "ClassLabel" else ""
        raise GancoreError(f"The set {self.name[-80:]} has {problem}{others}; set [data] {key}{without}.")

    def _names(self, split: str) -> tuple[str, ...]:
        if not self.labels:
            return ("images",)
        return tuple(map(str, self._rows(split).features[self._column(split, "ClassLabel")].names))

    def _labels(self, split: str) -> Tensor:
        column = self._column(split, "ClassLabel")
        values = self._rows(split).select_columns([column])[:][column]
        if None in values:
            raise GancoreError(
                f"Row {values.index(None)} of the {split} split of {self._called} has no class; choose another split."
            )
        return torch.tensor(values, dtype=torch.int64)


class HubImages(Pictures):
    """The pictures of a split, read by index.

    Its rows are pickled by the names of the files that hold them, which another process maps for itself.

    Args:
        dataset: Says how they are decoded.
        rows: The split, as ``datasets`` gives it.
        column: Column of the pictures.
        split: ``"train"`` or ``"test"``.
    """

    def __init__(self, dataset: HubDataset, rows: Any, column: str, split: str) -> None:
        self.rows = rows.select_columns([column]).cast_column(column, library().Image(decode=False))
        self.column, self.background = column, dataset.background
        self.called = f"of the {split} split of {dataset.name}"
        self.shape = torch.Size((len(rows), dataset.channels, dataset.image_size, dataset.image_size))
        files = [Path(file["filename"]) for file in rows.cache_files]
        stated = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        self.fingerprint = digest_of([DECODING, list(self.shape), self.background, column, dataset.splits[split], stated], 32)

    def picture(self, place: int) -> Pixels:
        """Return the image (C, H, W) uint8 at a place.

        Raises:
            GancoreError: It can't be read, or there is none in that row.
        """
        cell = self.rows[place][self.column] or {}
        source = cell.get("bytes") or (Path(cell["path"]) if cell.get("path") else None)
        if source is None:
            raise GancoreError(
                f"Row {place} {self.called[:200]} has no picture; choose another split, or column ([data] image)."
            )
        return decode(source, self.shape[-1], self.shape[1], name=f"{place} {self.called}", background=self.background)
