"""Weights files: the state of one network as safetensors, with what it is in the header."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gancore.errors import GancoreError, first_line
from gancore.files.atomic import replacing
from gancore.files.digests import digest

_SEAL = "gancore-digest"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a header to a safetensors file, all or nothing: a crash leaves the old file.

    A digest of all of it lies in the header, and is compared when the file is read.
    """
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    # In one text, for safetensors writes several in any order, and the same run shall write the same bytes.
    content = save(plain, metadata={"gancore": json.dumps({**header, _SEAL: _digest(plain, header)})})
    with replacing(path) as beside:
        beside.write_bytes(content)


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """Return what changes when any bit of a file's tensors or header does."""
    pieces = (
        piece
        for name, tensor in sorted(tensors.items())
        for piece in (f"{name}\n{tensor.dtype}{list(tensor.shape)}\n".encode(), raw_bytes(tensor))
    )
    return digest(itertools.chain([json.dumps(header).encode()], pieces), 32)


def raw_bytes(tensor: Tensor) -> bytes:
    """Return the memory of a tensor's values, in their order."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def fingerprint(network: nn.Module) -> str:
    """Return twelve characters that change when any weight does, or a constant that is kept beside them."""
    named = {**network.state_dict(), **dict(network.named_buffers())}
    return digest(piece for name, tensor in named.items() for piece in (name.encode(), raw_bytes(tensor)))


def read_tensors(path: Path, *, sealed: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a safetensors file and its header; an empty header where gancore did not write it.

    Args:
        path: The file.
        sealed: Refuse a file without a digest, as other tools write it.

    Raises:
        GancoreError: The file is missing, or damaged: its content is not what its digest says.
        OSError: It can't be read.
    """
    if not path.is_file():
        raise GancoreError(f"there is no weights file {path}; check the path.")
    status = path.stat()
    if status.st_size > 1 << 30 and getattr(status, "st_blocks", status.st_size) * 512 < status.st_size // 100:
        raise GancoreError(
            f"{path} claims {status.st_size >> 30} GiB, of which next to nothing is there; it is no weights file."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = dict(json.loads(metadata.get("gancore", "{}")))
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError, RuntimeError, MemoryError) as error:
        if _is_pickled(path):
            raise GancoreError(
                f"{path} is a file of torch.save, a pickle, which can run code when it is read; convert it to safetensors: "
                f"gancore convert {shlex.quote(str(path))}"
            ) from error
        raise GancoreError(f"{path} is damaged or no safetensors file ({first_line(error)[:200]}).") from error
    seal = header.pop(_SEAL, None)
    if sealed and seal is None:
        raise GancoreError(f"{path} carries no digest of its content, as older versions and other tools write it.")
    if seal not in (None, _digest(tensors, header)):
        raise GancoreError(f"{path} is damaged: its content is not what its digest says.")
    return tensors, header


def _is_pickled(path: Path) -> bool:
    """Return whether a file begins as those of torch.save do, which are archives, or pickles."""
    with path.open("rb") as file:  # a closed file is told as that, and not as damaged
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def load_weights(network: nn.Module, path: Path, *, where: str) -> None:
    """Load a weights file into a network.

    Raises:
        GancoreError: The file is missing or damaged, or holds another network.
    """
    try:
        tensors, _ = read_tensors(path)
    except GancoreError as error:
        raise GancoreError(f"{where}: {error}") from error
    own = network.state_dict()
    # Counters of batch norm are absent in files of other tools, and change nothing.
    differing = [f"it lacks {name!r}" for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    differing += [f"it holds {name!r}" for name in tensors if name not in own]
    if differing:
        raise GancoreError(
            f"{where}: {path} holds the weights of another network ({differing[0]}); choose the network that it was saved from."
        )
    for name, value in tensors.items():
        if value.shape != own[name].shape:
            raise GancoreError(
                f"{where}: {path} does not fit: {name} has shape {tuple(value.shape)} in the file and "
                f"{tuple(own[name].shape)} in the network; choose settings that agree (classes, width, channels)."
            )
    network.load_state_dict(tensors, strict=False)
