"""Well-known image sets in torchvision's folder layout."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError
from gancore.tools import first_line
from gancore_standard.datasets.folders import check_ordinary, data_root, exists
from gancore_standard.datasets.resizing import ImageSize, resized
from gancore_standard.datasets.splits import check_split
from gancore_standard.torchvision_import import torchvision

MOST_BYTES = 4 << 30
"""Files beyond this size are not read; the largest of these sets has 3 GiB."""


class TorchvisionSet(Dataset):
    """An image set that torchvision reads, below ``$GANCORE_DATA/<folder>``.

    Args:
        root: Folder to use in place of GANCORE_DATA.
        image_size: Pixels a side; other than the set's own, images are resized (bilinear, antialiased).
        download: Fetch the set where it is missing.
    """

    title: ClassVar[str]
    folder: ClassVar[str]
    marker: ClassVar[str]
    """What the folder holds when the set is there, a path below it."""
    channels: int = 3
    native_size: ClassVar[int] = 32
    class_names: ClassVar[tuple[str, ...]]

    def __init__(self, *, root: str | None = None, image_size: ImageSize | None = None, download: bool = False) -> None:
        if root is not None and download:
            raise GancoreError(
                "download fetches into the folder that GANCORE_DATA names, and no other, for a recipe may come from anyone; "
                "set GANCORE_DATA and leave root out, or leave download out."
            )
        self.root = root
        self.image_size = self.native_size if image_size is None else image_size
        self.download = download

    @property
    def info(self) -> DatasetInfo:
        """What is known before an image is read."""
        return DatasetInfo(len(self.class_names), self.channels, self.image_size, self.class_names)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, C, image_size, image_size) uint8 and labels (N,) int64 of ``"train"`` or ``"test"``.

        Raises:
            GancoreError: The set is not there, damaged, or can't be downloaded.
        """
        check_split(split)
        folder = data_root(self.root) / self.folder
        if not self.download and not exists(folder / self.marker):
            raise GancoreError(
                f"{self.title} is not here: {folder / self.marker} was not found; set GANCORE_DATA (or [data] root) to the "
                f"folder that holds {self.folder}/, or set [data] download = true."
            )
        sets = torchvision().datasets
        try:
            with warnings.catch_warnings():
                # torchvision reads with calls that NumPy has deprecated; nothing that a user could act on.
                warnings.simplefilter("ignore")
                for file in (*folder.glob("*.mat"), *(folder / self.marker).glob("*")):
                    check_ordinary(file, MOST_BYTES)
                images, labels = self._read(sets, folder, split)
        except Exception as error:
            # Readers of damaged files raise whatever they stumble over.
            action = "can't be downloaded to" if self.download else "can't be read from"
            cause = str(error) if isinstance(error, GancoreError) else f"{type(error).__name__}: {first_line(error)}"
            raise GancoreError(
                f"The {split} split of {self.title} {action} {folder} ({cause}); "
                f"delete what is left of {folder / self.marker} and unpack it again, or set [data] download = true."
            ) from error
        return resized(images.contiguous(), self.image_size), labels

    def _read(self, sets: Any, folder: Path, split: str) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


_CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""


class _Cifar(TorchvisionSet):
    reader: ClassVar[str]

    def _read(self, sets: Any, folder: Path, split: str) -> tuple[Tensor, Tensor]:
        data = getattr(sets, self.reader)(str(folder), train=split == "train", download=self.download)
        return torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets, dtype=torch.int64)


class Cifar10(_Cifar):
    """CIFAR-10: 50 000 training and 10 000 test images of 32x32 pixels, 10 classes (Krizhevsky 2009).

    Args:
        root: Folder that holds ``cifar10/``, in place of GANCORE_DATA.
        image_size: Pixels a side; other than 32, images are resized.
        download: Fetch the set where it is missing.
    """

    title = "CIFAR-10"
    folder = "cifar10"
    marker = "cifar-10-batches-py"
    license = "none is stated by its authors"
    reader = "CIFAR10"
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Cifar100(_Cifar):
    """CIFAR-100: 50 000 training and 10 000 test images of 32x32 pixels, 100 classes (Krizhevsky 2009).

    Args:
        root: Folder that holds ``cifar100/``, in place of GANCORE_DATA.
        image_size: Pixels a side; other than 32, images are resized.
        download: Fetch the set where it is missing.
    """

    title = "CIFAR-100"
    folder = "cifar100"
    marker = "cifar-100-python"
    license = "none is stated by its authors"
    reader = "CIFAR100"
    class_names = tuple(_CIFAR100_NAMES.split())


class _Mnist(TorchvisionSet):
    reader: ClassVar[str]
    native_size = 28

    def __init__(
        self,
        *,
        root: str | None = None,
        image_size: ImageSize | None = None,
        channels: Literal[1, 3] = 1,
        download: bool = False,
    ) -> None:
        super().__init__(root=root, image_size=image_size, download=download)
        self.channels = channels

    def _read(self, sets: Any, folder: Path, split: str) -> tuple[Tensor, Tensor]:
        data = getattr(sets, self.reader)(str(folder), train=split == "train", download=self.download)
        return data.data.unsqueeze(1).expand(-1, self.channels, -1, -1), data.targets.long()


class Mnist(_Mnist):
    """MNIST: 60 000 training and 10 000 test images of 28x28 pixels, handwritten digits (LeCun et al. 1998).

    Args:
        root: Folder that holds ``mnist/``, in place of GANCORE_DATA.
        image_size: Pixels a side; other than 28, images are resized.
        channels: 1, or 3 for equal red, green and blue, beside networks for color.
        download: Fetch the set where it is missing.
    """

    title = "MNIST"
    folder = "mnist"
    marker = "MNIST/raw"
    license = "CC BY-SA 3.0"
    reader = "MNIST"
    class_names = tuple("0123456789")


class FashionMnist(_Mnist):
    """Fashion-MNIST: 60 000 training and 10 000 test images of 28x28 pixels, articles of clothing (Xiao et al. 2017).

    Args:
        root: Folder that holds ``fashion-mnist/``, in place of GANCORE_DATA.
        image_size: Pixels a side; other than 28, images are resized.
        channels: 1, or 3 for equal red, green and blue, beside networks for color.
        download: Fetch the set where it is missing.
    """

    title = "Fashion-MNIST"
    folder = "fashion-mnist"
    marker = "FashionMNIST/raw"
    license = "MIT"
    reader = "FashionMNIST"
    class_names = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


class Svhn(TorchvisionSet):
    """SVHN, cropped digits: 73 257 training and 26 032 test images of 32x32 pixels, house numbers (Netzer et al. 2011).

    Args:
        root: Folder that holds ``svhn/``, in place of GANCORE_DATA.
        image_size: Pixels a side; other than 32, images are resized.
        download: Fetch the set where it is missing.
    """

    title = "SVHN"
    folder = "svhn"
    marker = "train_32x32.mat"
    license = "for non-commercial use only"
    class_names = tuple("0123456789")

    def _read(self, sets: Any, folder: Path, split: str) -> tuple[Tensor, Tensor]:
        data = sets.SVHN(str(folder), split=split, download=self.download)
        return torch.from_numpy(data.data), torch.from_numpy(data.labels).long()
