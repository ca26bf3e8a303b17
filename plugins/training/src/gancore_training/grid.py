"""Images that show themselves as a grid."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import tempfile
from pathlib import Path

import attrs
from torch import Tensor

from gancore import GancoreError
from gancore.tools import Registry, as_path
from gancore_training.sampling import image_format


@attrs.frozen(eq=False, slots=False)
class Grid:
    """Images that show themselves as a grid.

    Attributes:
        images: (N, C, H, W) in [-1, 1], on the CPU.
        labels: What they were asked for, (N,), or (N, A) attributes.
        columns: How many stand in a row.
        registry: Whose image formats write it.
    """

    images: Tensor
    labels: Tensor
    columns: int
    registry: Registry = attrs.field(repr=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, whose ending says in which format.

        Raises:
            GancoreError: No plugin writes such files, or it can't be written.
        """
        file = as_path(path, "the file")
        image_format(file, self.registry)(self.images, file, columns=self.columns)

    @functools.cached_property
    def png(self) -> bytes | None:
        """Its PNG, or None where no plugin writes one."""
        with contextlib.suppress(GancoreError), tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder) / "grid.png")
            return (Path(folder) / "grid.png").read_bytes()
        return None

    def __repr__(self) -> str:
        return f"Grid of {len(self.images)} images {tuple(self.images.shape[1:])}, {self.columns} in a row"

    def _repr_png_(self) -> bytes | None:
        return self.png

    def _repr_html_(self) -> str | None:
        if self.png is None:
            return None
        return f'<img alt="generated images" src="data:image/png;base64,{base64.b64encode(self.png).decode()}">'
