"""Which pictures lie in a folder: listed once, and of large folders saved in the cache, to be taken from there the next time.

A saved listing counts while no folder in it has changed. It holds names alone: a file that is replaced under its name leaves it
as it is, and is read as it is then.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np
import numpy.typing as npt
from gancore_training import digest_of

from gancore import GancoreError
from gancore.tools import cache_root, distributed, replacing

EXTENSIONS = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""File name endings, in lower case, that are taken for pictures; other files are left aside."""

SAVED_FROM = 10_000
"""Pictures from which on listings are saved; fewer are listed in some hundredths of a second."""

RECENT = 3 * 10**9
"""Nanoseconds within which a file system may not tell two changes of a folder apart: one changed so lately is not saved."""

_FORMAT = 1

Stamp = list[int]
"""What changes when a name in a folder does: its number, its time, and that of its last change, which nobody can set."""


@attrs.frozen(eq=False)
class Listing:
    """The pictures in a folder and in all folders below it, as paths from it with slashes, in order.

    Attributes:
        text: The paths one behind the other, as the file system writes them; as texts they would take ten times the memory.
        sizes: Bytes of each (n,) int32.
        inner: The folders in it that hold some of them.
        direct: Whether some lie in none of these.
        stamps: Of each folder that was looked at, as a path from it; none where a later change of one might not be seen.
    """

    text: bytes | memoryview
    sizes: npt.NDArray[np.int32]
    inner: tuple[str, ...]
    direct: bool
    stamps: dict[str, Stamp]

    def __len__(self) -> int:
        return len(self.sizes)

    def names(self) -> list[str]:
        """Return the paths."""
        ends = np.cumsum(self.sizes, dtype=np.int64).tolist()
        return [os.fsdecode(bytes(self.text[start:end])) for start, end in zip([0, *ends], ends, strict=False)]

    def chosen(self, mask: npt.NDArray[np.bool_]) -> tuple[bytes | memoryview, npt.NDArray[np.int32]]:
        """Return text and sizes of those for which a mask (n,) is true."""
        if mask.all():
            return self.text, self.sizes
        text = np.frombuffer(self.text, np.uint8)[np.repeat(mask, self.sizes)]
        return text.tobytes(), self.sizes[mask]


def listing_of(folder: Path) -> Listing:
    """Return the pictures in a folder.

    Raises:
        GancoreError: A folder can't be listed.
    """
    gathered = _Gathered()
    gathered.look(folder, "")
    names = sorted(gathered.names)
    whole = "".join(names)
    encoded = None if whole.isascii() else [os.fsencode(name) for name in names]
    sizes = np.fromiter(map(len, names if encoded is None else encoded), np.int32, len(names))
    text = whole.encode() if encoded is None else b"".join(encoded)
    inner = tuple(sorted({name.partition("/")[0] for name in names if "/" in name}))
    direct = not inner or any("/" not in name for name in names)
    return Listing(text, sizes, inner, direct, gathered.stamps if gathered.settled else {})


@attrs.define
class _Gathered:
    names: list[str] = attrs.field(factory=list)
    stamps: dict[str, Stamp] = attrs.field(factory=dict)
    settled: bool = True
    seen: set[tuple[int, int]] = attrs.field(factory=set)

    def look(self, folder: Path, above: str) -> None:
        """Add the pictures below a folder, through links as well; a folder that is reached twice counts once.

        Nothing is asked of a file but its name and whether it is a folder: of a million files, more would take minutes.
        """
        try:
            status = folder.stat()
            self.stamps[above] = stamp(status)
            self.settled = self.settled and time.time_ns() - max(self.stamps[above][1:]) > RECENT
            if (status.st_dev, status.st_ino) in self.seen:
                # A link back to a folder above it would otherwise never end.
                return
            self.seen.add((status.st_dev, status.st_ino))
            inner = self._names_of(folder, above)
        except OSError as error:
            raise closed(error) from error
        for name in sorted(inner):
            self.look(folder / name, f"{above}{name}/")

    def _names_of(self, folder: Path, above: str) -> list[str]:
        """Add the names of a folder, and return the folders in it."""
        inner = []
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    continue
                if is_folder(entry):
                    inner.append(name)
                elif is_picture(name):
                    self.names.append(above + name)
                elif entry.is_symlink():
                    # To what is not there yet, and may be a folder when it is.
                    self.settled = False
        return inner


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether a name in a folder is one's, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere is named, if it is a picture, when it is decoded
        return False


def is_picture(name: str) -> bool:
    """Return whether a file's name is that of a picture."""
    return not name.startswith(".") and name[name.rfind(".") :].lower() in EXTENSIONS


def closed(error: OSError) -> GancoreError:
    """Return the error of a folder that can't be listed."""
    return GancoreError(f"The folder {error.filename} can't be listed ({error.strerror}); allow reading it.")


def stamp(status: os.stat_result) -> Stamp:
    """Return what changes when a name in a folder does."""
    return [status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def listings_of(place: Path, folders: Sequence[str]) -> dict[str, Listing]:
    """Return the listings of the folders in one place, saved ones as far as they still hold, and save them if they are many.

    Args:
        place: The folder that holds them.
        folders: Their names; an empty one is the place itself.

    Raises:
        GancoreError: A folder can't be listed.
    """
    file = _file_of(place, folders)
    saved = {} if file is None else _read(file)
    listings = {name: saved.pop(name) for name in folders if name in saved and _holds(saved[name], place / name)}
    fresh = [name for name in folders if name not in listings]
    # In one buffer as well, for thousands of small ones leave the memory in pieces when they go.
    text, ends = bytearray(), [0]
    for name in fresh:
        listings[name] = listing_of(place / name)
        text += listings[name].text
        ends.append(len(text))
        listings[name] = attrs.evolve(listings[name], text=b"")
    for name, start, end in zip(fresh, ends, ends[1:], strict=False):
        listings[name] = attrs.evolve(listings[name], text=memoryview(text)[start:end])
    if file is not None and any(listings[name].stamps for name in fresh):
        _save(file, {name: listing for name, listing in listings.items() if listing.stamps})
    return {name: listings[name] for name in folders}


def _save(path: Path, listings: dict[str, Listing]) -> None:
    """Save listings of many pictures; where the cache can't be written, nothing is."""
    if sum(map(len, listings.values())) >= SAVED_FROM and distributed.rank() == 0:
        with contextlib.suppress(GancoreError), replacing(path) as beside, beside.open("wb") as file:
            _write(file, listings)


def _file_of(place: Path, folders: Sequence[str]) -> Path | None:
    """Return where the listings of a place, or of folders in it, are saved, if there is a cache."""
    try:
        key = [_FORMAT, str(place.resolve()), "" in folders]
        return cache_root() / "listings" / f"{place.name[:50]}-{digest_of(key, 24)}"
    except (GancoreError, OSError):
        return None


def _holds(saved: Listing, folder: Path) -> bool:
    """Return whether no folder of a listing has changed since."""
    try:
        return bool(saved.stamps) and all(stamp((folder / name).stat()) == known for name, known in saved.stamps.items())
    except OSError:
        return False


def _write(file: IO[bytes], listings: dict[str, Listing]) -> None:
    told = [
        [name, len(listing), len(listing.text), listing.inner, listing.direct, listing.stamps]
        for name, listing in listings.items()
    ]
    state = blake2b()
    for piece in (
        json.dumps(told).encode() + b"\n",
        *(listing.sizes.astype("<i4").tobytes() for listing in listings.values()),
        *(listing.text for listing in listings.values()),
    ):
        file.write(piece)
        state.update(piece)
    file.write(state.digest())


def _read(path: Path) -> dict[str, Listing]:
    """Return saved listings; none where they are not there, or damaged, or as nobody has written them."""
    try:
        content = path.read_bytes() if path.is_file() else b""
        whole, end = memoryview(content), len(content) - blake2b().digest_size
        if blake2b(whole[:end]).digest() != content[end:]:
            return {}
        start = content.index(b"\n") + 1
        return _listings(json.loads(content[:start]), whole[start:end])
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return {}


def _listings(told: Sequence[Any], content: memoryview) -> dict[str, Listing]:
    at = sum(4 * number for _, number, *_ in told)
    sizes, texts = content[:at], content[at:]
    listings = {}
    for name, number, length, inner, direct, stamps in told:
        own = np.frombuffer(sizes[: 4 * number], "<i4").astype(np.int32)
        listings[name] = Listing(texts[:length], own, tuple(inner), direct, stamps)
        sizes, texts = sizes[4 * number :], texts[length:]
    return listings
