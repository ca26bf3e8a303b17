"""What stands in for PNG: its first bytes, and the shape of the images."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor


def write(images: Tensor, path: Path, *, columns: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG " + str(tuple(images.shape)).encode())
