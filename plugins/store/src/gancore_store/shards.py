"""Shards: files of images one behind the other, their labels and where each ends, in safetensors' layout, read by `pread`."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from gancore import GancoreError
from gancore.tools import replacing

REMEDY = "free space there, or choose another --out, and prepare again: what is written stays"

_SEEKING = threading.Lock()


@attrs.frozen
class Shard:
    """Where the images of a shard lie.

    Attributes:
        path: The file.
        start: Byte of the file at which the first image begins.
        ends: For each image (n,) int64, the byte after it, from `start`.
        labels: Labels (n,) or attributes (n, A), int64.
        sha256: Of everything after the header.
    """

    path: Path
    start: int
    ends: Tensor
    labels: Tensor
    sha256: str


def shard_path(store: Path, split: str, number: int, shards: int) -> Path:
    """Return the file of one of a split's shards, e.g. ``train-00017-of-00246.safetensors``."""
    return store / f"{split}-{number:05d}-of-{shards:05d}.safetensors"


def write_shard(path: Path, images: Sequence[bytes], labels: Tensor) -> None:
    """Write a shard, all or nothing; the same images give the same bytes.

    Raises:
        GancoreError: It can't be written.
    """
    ends = np.cumsum([len(image) for image in images], dtype="<i8")
    kinds = {"ends": ("I64", [len(images)], ends.tobytes()), "labels": ("I64", list(labels.shape), labels.numpy().tobytes())}
    state, at, header = hashlib.sha256(), 0, dict[str, Any]()
    for name, (dtype, shape, content) in kinds.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(content)]}
        at += len(content)
        state.update(content)
    header["images"] = {"dtype": "U8", "shape": [int(ends[-1])], "data_offsets": [at, at + int(ends[-1])]}
    for image in images:
        state.update(image)
    text = json.dumps({"__metadata__": {"sha256": state.hexdigest()}, **header}).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path, REMEDY) as beside, beside.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, _, content in kinds.values():
            file.write(content)
        file.writelines(images)


def open_shard(path: Path) -> Shard:
    """Return where the images of a shard lie, of which none is read.

    Raises:
        GancoreError: It is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size < 1 << 20:
                raise ValueError("its header has no length that could be")
            header = json.loads(file.read(size))
            tables = {name: _table(header[name], file.read(_bytes(header[name]))) for name in ("ends", "labels")}
            start = file.tell()
            whole = start + _bytes(header["images"])
            if os.fstat(file.fileno()).st_size != whole or int(tables["ends"][-1]) != whole - start:
                raise ValueError("it is shorter or longer than it says")
            return Shard(path, start, tables["ends"], tables["labels"], header["__metadata__"]["sha256"])
    except FileNotFoundError as error:
        raise GancoreError(f"The shard {path} is missing; prepare the store again, which writes what is missing.") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise damaged(path, str(error) if type(error) in (OSError, ValueError) else "its header makes no sense") from error


def damaged(path: Path, why: str) -> GancoreError:
    """Return the error of a shard that is not what it was."""
    return GancoreError(f"The shard {path} is damaged ({why[:100]}); prepare the store again, which writes it anew.")


def _bytes(entry: Any) -> int:
    first, last = entry["data_offsets"]
    if not 0 <= first <= last:
        raise ValueError("its header has offsets that can't be")
    return int(last - first)


def _table(entry: Any, content: bytes) -> Tensor:
    shape = [int(size) for size in entry["shape"]]
    if entry["dtype"] != "I64" or 8 * math.prod(shape) != len(content) or not content:
        raise ValueError("its header has sizes that can't be")
    return torch.from_numpy(np.frombuffer(content, "<i8").astype(np.int64).reshape(shape))


def is_sound(shard: Shard) -> bool:
    """Return whether a shard holds what was written."""
    state = hashlib.sha256()
    with shard.path.open("rb") as file:
        file.seek(shard.start - 8 * (shard.ends.numel() + shard.labels.numel()))
        while piece := file.read(1 << 22):
            state.update(piece)
    return state.hexdigest() == shard.sha256


def read_at(handle: int, start: int, size: int) -> bytes:
    """Return bytes of an open file; several threads and processes may share it."""
    if hasattr(os, "pread"):
        return os.pread(handle, size, start)
    with _SEEKING:
        os.lseek(handle, start, os.SEEK_SET)
        return os.read(handle, size)
