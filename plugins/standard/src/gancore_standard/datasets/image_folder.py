"""A folder of pictures, a subfolder per class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import click
import numpy as np
import numpy.typing as npt
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError, Range, Rows
from gancore.tools import distributed
from gancore_standard.datasets.class_folders import (
    ClassFolders,
    check_class,
    class_folders,
    loose_pictures,
    tested_classes,
    tested_folder,
    whole_folder,
)
from gancore_standard.datasets.decoding import Background, decoded
from gancore_standard.datasets.folder_images import FolderImages, Names
from gancore_standard.datasets.folders import expand_user
from gancore_standard.datasets.image_cache import cached
from gancore_standard.datasets.listings import listings_of
from gancore_standard.datasets.pictures import SMALL
from gancore_standard.datasets.resizing import ImageSize
from gancore_standard.datasets.splits import check_split


class ImageFolder(Dataset):
    """Pictures in a folder, one subfolder per class; the classes are the subfolders in alphabetical order.

    The folder holds ``train/`` (or ``training/``) and ``test/`` (``testing/``, ``val/``, ``valid/``, ``validation/``) with the
    class folders in each, or the class folders themselves; then evenly spaced pictures of each class, in the order of their
    names, are the test images. Hidden files and folders are left aside.

    The pictures are decoded and resized (shorter side to `image_size`, antialiased, center cut out). Of an animation the first
    picture is taken, and a camera's orientation is obeyed.

    Args:
        path: The folder; a relative one counts from where the command is started.
        image_size: Pixels a side.
        channels: 3 for color, 1 for gray.
        test_fraction: Share of each class's pictures to test on, where there is no ``train/`` folder.
        background: What is seen through what is transparent.
        subfolders: Whether all that is in the folders of a class folder is of its class, also where they look like splits or
            like classes of their own.
        labels: Whether the folders are classes; false takes all pictures below the folder (or below its splits) as they are.
        keep: ``pixels``: they are decoded once, into a memory-mapped array in the cache folder (GANCORE_CACHE, or
            ``~/.cache/gancore``), which is made again when a file is added, removed or changed (name, size, time). ``nothing``:
            they are decoded when they are wanted, by ``run.workers`` processes ahead of the training. ``auto``: pixels where
            these take at most 1 GiB. The images are the same to the last bit.
    """

    def __init__(
        self,
        *,
        path: str,
        image_size: ImageSize = 64,
        channels: Literal[1, 3] = 3,
        test_fraction: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        background: Background = "white",
        subfolders: bool = False,
        labels: bool = True,
        keep: Literal["auto", "pixels", "nothing"] = "auto",
    ) -> None:
        self.path = expand_user(path)
        self.image_size = image_size
        self.channels = channels
        self.test_fraction = test_fraction
        self.background: Background = background
        self.subfolders = subfolders
        self.labels = labels
        self.keep = keep

    @property
    def info(self) -> DatasetInfo:
        """What is known from the names of the folders.

        Raises:
            GancoreError: The folder does not exist, or holds no class folders.
        """
        names = self._folders().names
        return DatasetInfo(len(names), self.channels, self.image_size, names)

    def load(self, split: str) -> tuple[Rows, Tensor]:
        """Return images (N, C, image_size, image_size) uint8, and labels (N,) int64, class by class.

        The images are a memory-mapped tensor, or are read by index; see `keep`.

        Raises:
            GancoreError: A class has no image, or folders that may be classes or splits; the split has none; or, where an array
                is made of them, images can't be read.
        """
        check_split(split)
        images = self._listed(split)
        if self.keep == "nothing" or (self.keep == "auto" and images.shape.numel() > SMALL):
            return images, images.labels
        array = cached(
            f"{self.path.resolve().name}-{split}",
            [str(self.path.resolve()), self.background, images.stated(self.path)],
            images.shape,
            lambda: decoded(iter(range(len(images))), images.picture),
        )
        return array, images.labels

    def _folders(self) -> ClassFolders:
        return class_folders(self.path) if self.labels else whole_folder(self.path)

    def _listed(self, split: str) -> FolderImages:
        """Return the pictures of a split, of which nothing is read but the names."""
        folders = self._folders()
        place, classes = folders.train, folders.names
        if folders.split and split == "test":
            place, classes = tested_classes(folders, self.path) if self.labels else (tested_folder(folders, self.path), classes)
        gathered, inner = Names(), list[Path]()
        for name, pictures in listings_of(place, classes if self.labels else ("",)).items():
            check_class(place / name, pictures, nested=self.subfolders or not self.labels)
            inner += [place / name / one for one in pictures.inner]
            to_test = are_test(len(pictures), self.test_fraction)
            wanted = np.ones_like(to_test) if folders.split else to_test if split == "test" else ~to_test
            gathered.add(*pictures.chosen(wanted), folders.names.index(name) if self.labels else 0)
        if self.labels:
            self._tell(place, inner)
        if not len(gathered):
            raise GancoreError(
                f"{self.path} leaves no image to test on with test_fraction = {self.test_fraction}; "
                "raise test_fraction, or give the folder train/ and test/."
            )
        above = [f"{name}/" if self.labels else "" for name in folders.names]
        return FolderImages(place, above, gathered, self.image_size, self.channels, self.background)

    def _tell(self, place: Path, inner: list[Path]) -> None:
        """Say what of a folder may be read in another way than it was meant."""
        loose = loose_pictures(place)
        if distributed.rank() == 0 and inner and not self.subfolders:
            click.echo(
                f"Note: images in {len(inner)} subfolders of class folders (as {inner[0]}) are of these classes.", err=True
            )
        if distributed.rank() == 0 and loose:
            click.echo(f"Note: {loose} images in {place} are in no class folder, and are left aside.", err=True)


def are_test(number: int, fraction: float) -> npt.NDArray[np.bool_]:
    """Return which of the pictures (number,) of a class are test images."""
    # Evenly spaced: of the first n pictures of a class, floor(n * fraction) are test images, for every n.
    before = np.floor(np.arange(number + 1) * fraction)
    mask: npt.NDArray[np.bool_] = before[1:] > before[:-1]
    return mask
