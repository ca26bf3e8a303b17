"""Writing a store: any number of processes share its shards, each is written whole or not at all, and the same ones always."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import torch
from gancore_standard.tools import DECODING, Pixels
from gancore_training import InUse, holding
from PIL import Image
from torch import Tensor

from gancore import Dataset, GancoreError, Images, Rows
from gancore.tools import digest, load_split, raw_bytes, write_text, writing
from gancore_store.prepared import BEGUN, FORMAT, WHOLE, described
from gancore_store.shards import REMEDY, is_sound, open_shard, shard_path, write_shard

SHARD = 1 << 28
"""Bytes of a shard, about."""

SMALLER = {"pixels": 1, "webp": 2, "jpeg95": 4}
"""How many times fewer bytes than its pixels an encoding takes, about: it only says how many images lie in a shard."""

LOOKED_AT = 64
"""Files by which the size of all is estimated."""

AT_ONCE = 64
"""Images of a shard that are read at a time."""


@attrs.frozen
class Split:
    """A split to be written.

    Attributes:
        images: The images.
        labels: Labels (N,) or attributes (N, A).
        each: Images of a shard; the last has the rest.
    """

    images: Rows
    labels: Tensor
    each: int

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-len(self.labels) // self.each)


@attrs.frozen
class Job:
    """What is to be written where.

    Attributes:
        store: The folder.
        encoding: How an image is stored.
        splits: What is stored.
    """

    store: Path
    encoding: str
    splits: dict[str, Split]

    def path(self, split: str, number: int) -> Path:
        """Return the file of a shard."""
        return shard_path(self.store, split, number, self.splits[split].shards)

    def places(self, split: str, number: int) -> range:
        """Return which images of a split lie in a shard."""
        each = self.splits[split].each
        return range(number * each, min((number + 1) * each, len(self.splits[split].labels)))

    def labels(self, split: str, places: range) -> Tensor:
        """Return the labels of images of a split."""
        return self.splits[split].labels[places.start : places.stop].contiguous()

    @property
    def shards(self) -> list[tuple[str, int]]:
        """Every shard, by split and number."""
        return [(name, number) for name, split in self.splits.items() for number in range(split.shards)]

    def missing(self) -> list[tuple[str, int]]:
        """Return the shards that are not there."""
        return [shard for shard in self.shards if not self.path(*shard).exists()]


def split_of(loaded: tuple[Rows, Tensor], encoding: str) -> Split:
    """Return how a split is cut into shards: by what is known of it, and never by who writes.

    Raises:
        GancoreError: Files are asked for of what has none.
    """
    images, labels = loaded
    size = max(1, images.shape[1:].numel())
    if encoding == "files":
        content: Callable[[int], bytes] | None = getattr(images, "content", None)
        if content is None:
            raise GancoreError("--encoding files is for folders of images; this source has pixels alone, so leave it out.")
        looked = [len(content(place)) for place in range(0, len(labels), -(-len(labels) // LOOKED_AT))]
        size = max(1, sum(looked) // len(looked))
    return Split(images, labels, max(1, SHARD * SMALLER.get(encoding, 1) // size))


def begin(job: Job, dataset: Dataset, source: str) -> dict[str, Any]:
    """Write down what a store is to be, where nobody has, and return it.

    Raises:
        GancoreError: It was begun with other settings, or from another source, or can't be written.
    """
    info = dataset.info
    about = {
        "format": FORMAT,
        "source": source,
        "encoding": job.encoding,
        "decoding": DECODING,
        **{name: getattr(info, name) for name in ("channels", "image_size", "classes", "attributes")},
        "class_names": list(info.class_names),
        "background": next((getattr(split.images, "background", "white") for split in job.splits.values()), "white"),
        "splits": {
            name: {"images": len(split.labels), "each": split.each, "from": _fingerprint(split)}
            for name, split in job.splits.items()
        },
    }
    for split in job.splits.values():
        _refuse_place(job.store, getattr(split.images, "place", None))
    with writing(job.store, REMEDY):
        job.store.mkdir(parents=True, exist_ok=True)
        others = next((path for path in job.store.iterdir() if not _is_ours(path.name)), None)
    if others is not None:
        raise GancoreError(f"{job.store} holds {others.name}, which is no store's; choose another --out.")
    with _alone(job.store):
        path = job.store / (WHOLE if (job.store / WHOLE).exists() else BEGUN)
        if path.exists():
            _refuse_another(job.store, about, path)
        else:
            _drop_others(job)
            write_text(path, json.dumps(about, indent=1))
    return about


def _refuse_place(store: Path, place: object) -> None:
    """Refuse a store among the class folders of its source, where it would be taken for one of them."""
    if isinstance(place, Path) and store.resolve().is_relative_to(place.resolve()):
        below = store.resolve().relative_to(place.resolve())
        if not any(name.startswith(".") for name in below.parts):
            raise GancoreError(f"{store} lies in {place}, where it would be taken for a class of images; choose another --out.")


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Have one process at a time decide what a store is to be."""
    while True:
        with suppress(InUse), holding(store / ".begin.claim"):
            yield
            return
        time.sleep(0.1)


def _drop_others(job: Job) -> None:
    """Remove shards of which nobody says any more what they hold, unless their first image and labels are the job's."""
    for split, number in job.shards:
        path = job.path(split, number)
        with suppress(FileNotFoundError):
            try:
                shard, places = open_shard(path), job.places(split, number)
                first = _encoded(job.splits[split].images, job.encoding, places[:1])[0]
                with path.open("rb") as file:
                    file.seek(shard.start)
                    same = file.read(int(shard.ends[0])) == first
            except GancoreError:
                same = False
            if not same or not torch.equal(shard.labels, job.labels(split, places)):
                path.unlink()


def _is_ours(name: str) -> bool:
    return name in (BEGUN, WHOLE) or name.startswith(("train-", "test-", "."))


def _refuse_another(store: Path, about: dict[str, Any], path: Path) -> None:
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
        for split in before["splits"].values():
            split.pop("shards", None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GancoreError(f"{path} is damaged; delete it, and prepare the store again, which keeps its shards.") from error
    changed = sorted(key for key in about.keys() | before.keys() if about.get(key) != before.get(key))
    if changed == ["splits"]:
        raise GancoreError(f"The source of {store} is another than it was when the store was begun; choose another --out.")
    if changed:
        raise GancoreError(f"{store} was begun with another {changed[0]} ({before.get(changed[0])}); choose another --out.")


def _fingerprint(split: Split) -> str:
    """Return what changes when the source does: of files by their names, sizes and times, of pixels by what they are."""
    images = split.images
    if isinstance(images, Images):
        return digest([images.fingerprint.encode(), raw_bytes(split.labels)], 32)
    return digest((raw_bytes(rows) for rows in (*images.split(4096), split.labels)), 32)


def write(job: Job, part: tuple[int, int], workers: int, tell: Callable[[int, int], None]) -> bool:
    """Write the shards of a part that are not there, and return whether the store is whole.

    Args:
        job: What is written.
        part: Which part k of n, from 1.
        workers: Processes that write.
        tell: Is told how many of the part's shards are there, of how many.

    Raises:
        GancoreError: An image can't be read, or a shard can't be written.
    """
    own = job.shards[part[0] - 1 :: part[1]]
    with _writers(job, workers) as each:
        while missing := [shard for shard in own if not job.path(*shard).exists()]:
            written = 0
            for done in each(missing):
                written += done
                tell(sum(job.path(*shard).exists() for shard in own), len(own))
            if not written:
                time.sleep(0.2)  # Other processes hold all that are missing; should they be killed, they are ours.
    return not job.missing()


@contextmanager
def _writers(job: Job, workers: int) -> Iterator[Callable[[Sequence[tuple[str, int]]], Iterator[bool]]]:
    if workers <= 1:
        yield lambda shards: (_write_one(job, *shard) for shard in shards)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(job,))
    try:
        yield lambda shards: pool.map(_write_here, shards)
    finally:
        pool.shutdown(cancel_futures=True)


_job: Job | None = None


def _begin_worker(job: Job) -> None:
    global _job
    _job = job
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    """End this process once the one that hands out shards is gone, perhaps killed; it would else wait for the next for ever."""
    parent.join()
    os._exit(1)


def _write_here(shard: tuple[str, int]) -> bool:
    assert _job is not None
    return _write_one(_job, *shard)


def _write_one(job: Job, split: str, number: int) -> bool:
    """Write a shard, unless it is there or another process is at it; return whether this one has."""
    path = job.path(split, number)
    with suppress(InUse), holding(_claim(path)):
        if not path.exists():
            places = job.places(split, number)
            write_shard(path, _encoded(job.splits[split].images, job.encoding, places), job.labels(split, places))
            return True
    return False


def _claim(path: Path) -> Path:
    """Return the folder that whoever writes a shard holds meanwhile, of all processes on all hosts."""
    return path.with_name(f".{path.stem}.claim")


def _encoded(images: Rows, encoding: str, places: range) -> list[bytes]:
    if encoding == "files":
        _try_all(images, places)
        return [images.content(place) for place in places]  # type: ignore[union-attr]
    starts = range(places.start, places.stop, AT_ONCE)
    pieces = (images[start : min(start + AT_ONCE, places.stop)].numpy() for start in starts)
    return [_as(encoding, pixels) for piece in pieces for pixels in piece]


def _try_all(images: Any, places: range) -> None:
    """Refuse files that can't be decoded, which a training would meet hours later."""
    for start in range(places.start, places.stop, AT_ONCE):
        images.read(torch.arange(start, min(start + AT_ONCE, places.stop)))


def _as(encoding: str, pixels: Pixels) -> bytes:
    """Return pixels (C, H, W) uint8 as they are stored."""
    if encoding == "pixels":
        return pixels.tobytes()
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())
    buffer = io.BytesIO()
    if encoding == "webp":
        picture.save(buffer, "WEBP", lossless=True, method=0)
    else:
        picture.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def refuse_changed(job: Job, dataset: Dataset) -> None:
    """Refuse to call a store whole whose source has changed while it was written, so that it may hold some of both.

    Raises:
        GancoreError: It has.
    """
    for name, split in job.splits.items():
        if isinstance(split.images, Images):
            images, labels = load_split(dataset, name)
            if _fingerprint(Split(images, labels, split.each)) != _fingerprint(split):
                raise GancoreError(
                    f"The source of {job.store} has changed while it was prepared; delete {job.store}, and prepare it again."
                )


def finish(job: Job, about: dict[str, Any]) -> None:
    """Say that a store is whole, with a digest of each shard.

    Raises:
        GancoreError: A shard is damaged, or the store can't be written.
    """
    for name, split in job.splits.items():
        digests = [open_shard(job.path(name, number)).sha256 for number in range(split.shards)]
        about["splits"][name]["shards"] = digests
    write_text(job.store / WHOLE, json.dumps(about, indent=1))
    with writing(job.store, REMEDY):
        (job.store / BEGUN).unlink(missing_ok=True)
    for left in job.store.glob(".*.claim"):
        # Of a process that was killed; what one that lives holds is its own to remove.
        with suppress(InUse, OSError):
            with holding(left):
                pass
            left.rmdir()


def mend(job: Job) -> int:
    """Take out of a whole store what is damaged, so that it is written anew, and return how many shards that are."""
    if not (job.store / WHOLE).exists():
        return 0
    told = described(job.store)["splits"]
    broken = [(name, number) for name, number in job.shards if not _is_as_told(job, name, number, told)]
    for shard in broken:
        job.path(*shard).unlink(missing_ok=True)
    return len(broken)


def _is_as_told(job: Job, split: str, number: int, told: Any) -> bool:
    try:
        shard = open_shard(job.path(split, number))
        return bool(shard.sha256 == told[split]["shards"][number]) and is_sound(shard)
    except (GancoreError, OSError):
        return False


def splits_of(dataset: Dataset, encoding: str) -> tuple[dict[str, Split], str]:
    """Return the splits of an image set, and why there is none to test on, if that is so.

    Raises:
        GancoreError: It can't be read, or is no set of 8-bit images.
    """
    if dataset.info.continuous:
        raise GancoreError("A store holds images of 8 bits; this source has points in the plane.")
    splits = {"train": split_of(load_split(dataset, "train"), encoding)}
    try:
        splits["test"] = split_of(load_split(dataset, "test"), encoding)
    except GancoreError as error:
        return splits, str(error)
    return splits, ""
