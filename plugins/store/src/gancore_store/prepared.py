"""A prepared store as an image set."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gancore_standard.tools import SMALL, Pictures, Pixels, check_split, decode, expand_user
from gancore_training import digest_of
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError, Rows
from gancore_store.shards import Shard, damaged, open_shard, read_at, shard_path

FORMAT = 1

BEGUN, WHOLE = "begun.json", "store.json"
"""What a store is to be, while it is written; and what it is."""

LARGEST = 4096
"""Pixels a side of the largest images that a store holds."""

Described = dict[str, Any]


def described(store: Path) -> Described:
    """Return what a whole store says of itself.

    Raises:
        GancoreError: There is none, it is not whole, or another version has written it.
    """
    try:
        text = (store / WHOLE).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if (store / BEGUN).exists():
            raise GancoreError(
                f"The store {store} is not whole; go on by the same `gancore prepare ... --out {store}`."
            ) from error
        raise GancoreError(f"There is no store {store}; correct [data] path, or write one by `gancore prepare`.") from error
    except OSError as error:
        raise GancoreError(f"{store / WHOLE} can't be read ({error.strerror}).") from error
    try:
        about = dict(json.loads(text))
        if about["format"] == FORMAT:
            _check(about)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GancoreError(
            f"{store / WHOLE} is damaged; delete it and prepare the store again, which keeps its shards."
        ) from error
    if about["format"] != FORMAT:
        raise GancoreError(
            f"The store {store} has format {str(about['format'])[:20]}, and this version reads {FORMAT}; prepare it again."
        )
    return about


def _check(about: Described) -> None:
    """Raise where what a store says of itself can't be used."""
    numbers = [about[name] for name in ("format", "decoding", "channels", "image_size", "classes", "attributes")]
    texts = [about[name] for name in ("source", "encoding", "background")] + list(about["class_names"])
    if any(type(each) is not int for each in numbers) or any(type(each) is not str for each in texts):
        raise TypeError(numbers)
    if about["encoding"] not in ("pixels", "files", "webp", "jpeg95") or about["background"] not in ("white", "gray", "black"):
        raise ValueError(about["encoding"])
    if about["channels"] not in (1, 3) or not 1 <= about["image_size"] <= LARGEST or min(numbers) < 0:
        raise ValueError(numbers)
    for split in about["splits"].values():
        images, each, shards = split["images"], split["each"], list(split["shards"])
        if not (type(images) is type(each) is int and images > 0 and each > 0 and len(shards) == -(-images // each)):
            raise ValueError(split)
        if any(type(digest) is not str for digest in shards):
            raise TypeError(split)


def _check_shard(shard: Shard, number: int, about: Described, pixels: int) -> None:
    """Refuse a shard whose tables can't be those of `number` images of a store, of so many bytes of pixels each."""
    attributes = [about["attributes"]] if about["attributes"] else []
    if list(shard.ends.shape) != [number] or list(shard.labels.shape) != [number, *attributes]:
        raise damaged(shard.path, "its images are of another number than the store says")
    if not 0 <= int(shard.labels.min()) <= int(shard.labels.max()) < (2 if attributes else about["classes"]):
        raise damaged(shard.path, "its labels are none of the store's")
    sizes = shard.ends.diff(prepend=shard.ends.new_zeros(1))
    if int(sizes.min()) < 1 or (about["encoding"] == "pixels" and not bool((sizes == pixels).all())):
        raise damaged(shard.path, "its images are of another size than the store says")


class Prepared(Dataset):
    """Images that `gancore prepare` has written: a store, which any number of processes and machines may read.

    Their labels are read when it is opened, a million in less than a tenth of a second, and the images when they are wanted.

    Args:
        path: The store's folder; a relative one counts from where the command is started.
        keep: ``pixels``: all images are held in memory. ``nothing``: they are read when they are wanted, by ``run.workers``
            processes ahead of the training. ``auto``: in memory where their pixels take at most 1 GiB. The images are the same.
    """

    def __init__(self, *, path: str, keep: Literal["auto", "pixels", "nothing"] = "auto") -> None:
        self.path = expand_user(path)
        self.keep = keep

    @property
    def info(self) -> DatasetInfo:
        """What the store says of itself.

        Raises:
            GancoreError: There is no store, or it is not whole, or damaged.
        """
        about = described(self.path)
        names = tuple(about["class_names"])
        return DatasetInfo(about["classes"], about["channels"], about["image_size"], names, attributes=about["attributes"])

    def protocol(self) -> dict[str, Any]:
        """Return what scores say of the data: those of an exact store are the scores of its source."""
        about = described(self.path)
        return {"data": about["source"], **({"data_encoding": "jpeg95"} if about["encoding"] == "jpeg95" else {})}

    def load(self, split: str) -> tuple[Rows, Tensor]:
        """Return images (N, C, image_size, image_size) uint8, in memory or read by index, and labels (N,) or attributes (N, A).

        Raises:
            GancoreError: The store is not whole, has no such split, or is damaged.
        """
        check_split(split)
        about = described(self.path)
        if split not in about["splits"]:
            raise GancoreError(f"The store {self.path} has no {split} split, for its source had none; choose evaluation.split.")
        images = StoredImages(self.path, about, split)
        held = self.keep == "pixels" or (self.keep == "auto" and images.shape.numel() <= SMALL)
        return (images[:] if held else images), images.labels


class StoredImages(Pictures):
    """The images of a store's split, read by index: files are opened once a process, and never mapped into memory.

    Args:
        store: The folder.
        about: What it says of itself.
        split: The split.

    Attributes:
        labels: Labels (N,), or attributes (N, A), int64.
    """

    def __init__(self, store: Path, about: Described, split: str) -> None:
        told = about["splits"][split]
        count = len(told["shards"])
        shards = [open_shard(shard_path(store, split, number, count)) for number in range(count)]
        for shard, sha256 in zip(shards, told["shards"], strict=True):
            if shard.sha256 != sha256:
                raise damaged(shard.path, "it is of another store")
        self.encoding, self.background, self.each = about["encoding"], about["background"], told["each"]
        size = about["image_size"]
        self.shape = torch.Size((told["images"], about["channels"], size, size))
        for shard in shards:
            left = self.shape[0] - self.each * (count - 1)
            _check_shard(shard, left if shard is shards[-1] else self.each, about, self.shape[1:].numel())
        self._paths = [str(shard.path) for shard in shards]
        self._starts = [shard.start for shard in shards]
        # In its shard.
        self._ends = torch.cat([shard.ends for shard in shards])
        self.labels = torch.cat([shard.labels for shard in shards])
        self.fingerprint = digest_of([about["encoding"], told["shards"], list(self.shape), about["decoding"]], 32)
        self._handles: dict[int, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs, which opens the files for itself."""
        return {**self.__dict__, "_handles": {}}

    def content(self, place: int) -> bytes:
        """Return an image as it is stored.

        Raises:
            GancoreError: Its shard is gone, or damaged.
        """
        shard, row = divmod(place, self.each)
        start = int(self._ends[place - 1]) if row else 0
        size = int(self._ends[place]) - start
        try:
            if shard not in self._handles:
                self._handles[shard] = os.open(self._paths[shard], os.O_RDONLY | getattr(os, "O_BINARY", 0))
            content = read_at(self._handles[shard], self._starts[shard] + start, size) if size > 0 else b""
        except OSError as error:
            raise damaged(Path(self._paths[shard]), error.strerror or str(error)) from error
        if not content or len(content) != size:
            raise damaged(Path(self._paths[shard]), "an image lies beyond its end")
        return content

    def picture(self, place: int) -> Pixels:
        """Return the image (C, H, W) uint8 at a place.

        Raises:
            GancoreError: Its shard is gone, or damaged.
        """
        content = self.content(place)
        if self.encoding == "pixels":
            return np.frombuffer(content, np.uint8).reshape(self.shape[1:])
        shard = Path(self._paths[place // self.each])
        try:
            return decode(content, self.shape[-1], self.shape[1], name=str(place), background=self.background)
        except GancoreError as error:
            raise damaged(shard, f"its image {place % self.each} can't be read") from error
