"""Images as other tools leave them: arrays in an npz file, or a folder of single pictures at their own size."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Annotated

import attrs
import numpy as np
import torch
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError, Range
from gancore.tools import first_line, listed, shown
from gancore_standard.datasets.class_folders import pictures_of_class, subfolders
from gancore_standard.datasets.decoding import Pixels, decode, decoded, pixels_of
from gancore_standard.datasets.folders import exists, expand_user
from gancore_standard.datasets.resizing import ImageSize, resized

_GROWTH = 200
"""An npz that unpacks to more than so many times its size holds no images."""


@attrs.frozen
class _File:
    path: Path
    label: int


class ImageFiles(Dataset):
    """Images of an npz file or of a folder, as they are: ``gancore evaluate`` scores them, and a recipe may train on them.

    Of an npz ``arr_0`` holds images (N, H, W, C), or (N, H, W), uint8, and ``arr_1``, where it is there, labels (N,): the
    layout of ADM's samples (Dhariwal and Nichol 2021, arXiv:2105.05233). A folder holds pictures, or one of them a class.
    Without labels all are of one class. There are no splits: each is all of the images.

    Args:
        path: The file or folder; a relative one counts from where the command is started.
        image_size: Pixels a side; images of another size are refused.
        channels: 3 for color, 1 for gray; gray images in three channels, all equal, are both.
        resize: Resize images of other sizes: the shorter side, bilinear and antialiased, and the center cut out.
        class_names: Names of the class folders, in the order of their labels; by default those that are there, sorted.
        number: Take so many, evenly spaced; by default all.
    """

    def __init__(
        self,
        *,
        path: str,
        image_size: ImageSize = 64,
        channels: Annotated[int, Range(1)] = 3,
        resize: bool = False,
        class_names: list[str] | None = None,
        number: Annotated[int, Range(1)] | None = None,
    ) -> None:
        self.path = expand_user(path)
        self.image_size = image_size
        self.channels = channels
        self.resize = resize
        self.class_names = class_names
        self.number = number

    @property
    def info(self) -> DatasetInfo:
        """What is known from the names of the folders, or the labels.

        Raises:
            GancoreError: There are no images.
        """
        names = self._names()
        return DatasetInfo(len(names) or 1, self.channels, self.image_size, names)

    def _names(self) -> tuple[str, ...]:
        if not exists(self.path):
            raise GancoreError(f"there are no images in {self.path}, for there is no such file or folder; check the path.")
        if self.path.is_file():
            _, labels = self._arrays()
            if labels is None:
                return ()
            names, most = self.class_names, int(labels.max())
            if names is not None and most >= len(names):
                raise GancoreError(f"{self.path} holds the label {most}, of which there is no class: there are {len(names)}.")
            return tuple(names or map(str, range(most + 1)))
        folders = subfolders(self.path)
        strange = [name for name in folders if self.class_names is not None and name not in self.class_names]
        if strange:
            raise GancoreError(
                f"{self.path / strange[0]} is none of the classes ({listed(self.class_names or ())[:150]}); rename it, or put "
                "all images into one folder."
            )
        return tuple(self.class_names or folders) if folders else ()

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, C, image_size, image_size) uint8 and labels (N,) int64.

        Raises:
            GancoreError: There is no image, one can't be read, or one has another size or other channels.
        """
        return self._of_npz() if self.path.is_file() else self._of_folder()

    def _chosen(self, number: int) -> list[int]:
        wanted = number if self.number is None else min(self.number, number)
        return [place * number // wanted for place in range(wanted)]

    def _of_folder(self) -> tuple[Tensor, Tensor]:
        names = self._names()
        places = {self.path / name: label for label, name in enumerate(names) if (self.path / name).is_dir()} or {self.path: 0}
        files = [
            _File(place / name, label) for place, label in places.items() for name in pictures_of_class(place, nested=True)
        ]
        chosen = [files[place] for place in self._chosen(len(files))]
        pixels = list(decoded(iter(chosen), self._decode))
        return torch.from_numpy(np.stack(pixels)), torch.tensor([file.label for file in chosen])

    def _decode(self, file: _File) -> Pixels:
        pixels = pixels_of(file.path, name=str(file.path))
        if self.resize and pixels.shape[1:] != (self.image_size, self.image_size):
            return decode(file.path, self.image_size, self.channels, name=str(file.path))
        return self._fitting(torch.from_numpy(pixels)[None], str(file.path))[0].numpy()

    def _arrays(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the images and labels of an npz file as they lie there."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > _GROWTH * self.path.stat().st_size:
                raise ValueError(f"it unpacks to {unpacked >> 20} MiB")
            with np.load(self.path, allow_pickle=False) as arrays:
                images, labels = arrays["arr_0"], arrays.get("arr_1")
        except Exception as error:
            # numpy raises what it stumbles over in a damaged file.
            raise GancoreError(
                f"{self.path} can't be read as an npz of images ({type(error).__name__}: {first_line(error)[:120]}); it must "
                "hold arr_0, images (N, H, W, C) of uint8."
            ) from error
        if images.ndim not in (3, 4) or images.dtype != np.uint8 or not images.size:
            what = f"arr_0 of shape {images.shape} and type {images.dtype}"
            raise GancoreError(f"{self.path} holds {what}; it must be images (N, H, W, C) of uint8.")
        if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or int(labels.min()) < 0):
            raise GancoreError(f"{self.path} holds arr_1 that is no label for each image; leave it out, or mend it.")
        return images, labels

    def _of_npz(self) -> tuple[Tensor, Tensor]:
        images, labels = self._arrays()
        chosen = self._chosen(len(images))
        pixels = torch.from_numpy(images[chosen].reshape(len(chosen), *images.shape[1:3], -1)).permute(0, 3, 1, 2)
        if self.resize and pixels.shape[-1] == pixels.shape[-2]:
            pixels = resized(pixels, self.image_size)
        known = np.zeros(len(images), np.int64) if labels is None else labels
        return self._fitting(pixels, str(self.path)), torch.from_numpy(known[chosen].astype(np.int64))

    def _fitting(self, pixels: Tensor, name: str) -> Tensor:
        """Return images (N, C, H, W) with the channels that are asked for, or refuse them."""
        channels, *size = pixels.shape[1:]
        if size != [self.image_size, self.image_size]:
            raise GancoreError(
                f"{shown(name, 150)} has {size[1]} x {size[0]} pixels, not {self.image_size} x {self.image_size}; resize it "
                "(`resize`, or --resize), or choose a recipe of its size."
            )
        if channels == 1:
            pixels = pixels.expand(-1, self.channels, -1, -1)
        elif self.channels == 1 and bool((pixels == pixels[:, :1]).all()):
            pixels = pixels[:, :1]
        if pixels.shape[1] != self.channels:
            raise GancoreError(
                f"{shown(name, 150)} has {channels} channels of color, not {self.channels}; choose a recipe of as many."
            )
        return pixels.contiguous()
