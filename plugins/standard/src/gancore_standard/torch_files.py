"""Files of ``torch.save``, read without running what they hold: pickles that may name tensors, and nothing else."""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor

from gancore import GancoreError
from gancore.tools import first_line

_HASH = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
"""The start of a file's SHA-256 in its name, as torch's hub writes it."""

_GROWTH = 8
"""An archive that unpacks to more than so many times its size is no weights file: torch.save does not compress."""


def read_state(path: Path) -> Any:
    """Return what a file of ``torch.save`` holds: tensors, and lists, dictionaries, numbers and texts around them.

    Raises:
        GancoreError: The file is missing, damaged, unpacks to far more than its size, or holds anything else.
    """
    if not path.is_file():
        raise GancoreError(f"there is no weights file {path}; check the path.")
    try:
        _check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise GancoreError(
            f"{path} is damaged, or holds code beside tensors, which is not run ({first_line(error)[:120]}); save the "
            "network's state_dict() alone."
        ) from error
    except Exception as error:
        # Readers of damaged files raise whatever they stumble over.
        raise GancoreError(
            f"{path} is damaged or no file of torch.save ({type(error).__name__}: {first_line(error)[:120]})."
        ) from error


def is_state(value: Any) -> bool:
    """Return whether something is a state dict: a dictionary of nothing but tensors by name, and not empty."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and isinstance(one, Tensor) for name, one in value.items())


def published_file(url: str, *, of: str, remedy: str) -> Path:
    """Return published weights in torch's cache, downloaded once, whose hash is what their name says.

    The file is checked whenever it is asked for, and again by `read_state`, so that libraries which unpickle it run nothing.

    Args:
        url: Where they are published; the file's name ends in the start of its hash.
        of: Whose weights they are, for errors.
        remedy: What to do where they can't be had.

    Raises:
        GancoreError: They can't be downloaded, or the file in the cache is another one, or holds anything but tensors.
    """
    name = url.rpartition("/")[2]
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    match = _HASH.search(name)
    try:
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=match[1] if match else None, progress=False)
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except (URLError, OSError, RuntimeError, EOFError, HTTPException) as error:
        raise GancoreError(f"the weights of {of} can't be had from {url} ({first_line(error)[:120]}); {remedy}.") from error
    if match and not digest.startswith(match[1]):
        raise GancoreError(f"{file} is damaged or another file, for its hash is not the one in its name; delete it.")
    state = read_state(file)
    if not is_state(state):
        raise GancoreError(f"{file} does not hold the weights of a network; delete it.")
    return file


def _check_archive(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _GROWTH * path.stat().st_size:
        raise ValueError(f"it unpacks to {unpacked / 2**30:.1f} GiB, {_GROWTH} times its size and more")
