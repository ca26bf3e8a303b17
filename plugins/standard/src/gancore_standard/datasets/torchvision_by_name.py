"""Further image sets of torchvision, by the names of their classes."""

from __future__ import annotations

import inspect
import warnings
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from gancore import Dataset, DatasetInfo, GancoreError, Range
from gancore.tools import did_you_mean, first_line, listed
from gancore_standard.datasets.decoding import shaped
from gancore_standard.datasets.folders import data_root
from gancore_standard.datasets.image_folder import are_test
from gancore_standard.datasets.resizing import ImageSize
from gancore_standard.datasets.splits import check_split
from gancore_standard.torchvision_import import torchvision

_FLAG = {"train": {"train": True}, "test": {"train": False}}
_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}

SETS: dict[str, dict[str, dict[str, Any]]] = {
    **dict.fromkeys(("EMNIST", "KMNIST", "USPS"), _FLAG),
    **dict.fromkeys(("Country211", "DTD", "FGVCAircraft", "Flowers102", "Food101", "GTSRB", "RenderedSST2", "STL10"), _SPLIT),
    "OxfordIIITPet": {"train": {"split": "trainval"}, "test": {"split": "test"}},
    "Imagenette": {"train": {"split": "train"}, "test": {"split": "val"}},
    **{name: {} for name in ("Caltech256", "EuroSAT", "FakeData", "SEMEION", "SUN397")},
}
"""Names of torchvision's classes whose items are a picture and a class -> what asks for each split, where there are some."""

OWN = ("root", "transform", "target_transform", "transforms", "download", "loader")
"""Arguments of these classes that a recipe does not give."""


class TorchvisionByName(Dataset):
    """An image set of torchvision by the name of its class, below ``$GANCORE_DATA/torchvision``.

    Pictures are resized as those of `image-folder` are: shorter side to `image_size`, antialiased, center cut out. All are
    held in memory.

    Args:
        name: torchvision's name, e.g. ``Flowers102``.
        args: Further arguments of its constructor, e.g. ``{split = "letters"}`` of ``EMNIST``.
        image_size: Pixels a side.
        channels: 3 for color, 1 for gray.
        test_fraction: Share of the pictures to test on, evenly spaced, where the set has no splits.
        root: Folder to use in place of GANCORE_DATA.
        download: Have torchvision fetch the set where it is missing.

    Raises:
        GancoreError: There is no such set, or an argument is not the recipe's to give.
    """

    def __init__(
        self,
        *,
        name: str,
        args: dict[str, str | int | bool] | None = None,
        image_size: ImageSize = 64,
        channels: Literal[1, 3] = 3,
        test_fraction: Annotated[float, Range(0, 1, open_high=True)] = 0.1,
        root: str | None = None,
        download: bool = False,
    ) -> None:
        if name not in SETS:
            raise GancoreError(f"there is no image set {name!r} here{did_you_mean(name, SETS)} (known: {listed(SETS)}).")
        ours = {*OWN, *SETS[name].get("train", {})}
        if wrong := sorted(ours & set(args or {})):
            raise GancoreError(f"args can't give {listed(wrong)} of {name}, which gancore does; leave that out.")
        if root is not None and download:
            raise GancoreError(
                "download fetches into the folder that GANCORE_DATA names, and no other, for a recipe may come from anyone; "
                "set GANCORE_DATA and leave root out, or leave download out."
            )
        self.name, self.args = name, args or {}
        self.image_size, self.channels, self.test_fraction = image_size, channels, test_fraction
        self.folder = data_root(root) / "torchvision"
        self.download = download
        self._info: DatasetInfo | None = None

    @property
    def info(self) -> DatasetInfo:
        """What the set says of its classes; where it names none, the images are read to count them.

        Raises:
            GancoreError: As `load`.
        """
        if self._info is None:
            names = getattr(self._opened("train"), "classes", None)
            known = tuple(map(str, names)) if names else ()
            number = len(known) or 1 + max(int(self.load(split)[1].max()) for split in ("train", "test"))
            self._info = DatasetInfo(number, self.channels, self.image_size, known)
        return self._info

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, C, image_size, image_size) uint8 and labels (N,) int64 of ``"train"`` or ``"test"``.

        Raises:
            GancoreError: The set is not there, damaged, or can't be downloaded, or an argument is wrong.
        """
        check_split(split)
        data = self._opened(split)
        places = list(range(len(data)))
        if not SETS[self.name]:
            to_test = are_test(len(data), self.test_fraction).tolist()
            places = [place for place in places if to_test[place] == (split == "test")]
        if not places:
            raise GancoreError(f"{self.name} leaves no image for {split}; change test_fraction = {self.test_fraction}.")
        images = torch.empty((len(places), self.channels, self.image_size, self.image_size), dtype=torch.uint8)
        labels = torch.empty(len(places), dtype=torch.int64)
        try:
            for at, place in enumerate(places):
                picture, label = data[place]
                images[at] = torch.from_numpy(shaped(picture, self.image_size, self.channels).copy())
                labels[at] = int(label)
        except Exception as error:
            raise self._refused(error) from error
        return images, labels

    def _opened(self, split: str) -> Any:
        cls = getattr(torchvision().datasets, self.name)
        known = inspect.signature(cls).parameters
        if wrong := sorted(set(self.args) - set(known)):
            takes = listed(set(known) - set(OWN))
            raise GancoreError(f"torchvision's {self.name} has no argument {listed(wrong)}; it takes {takes}.")
        given = {**self.args, **SETS[self.name].get(split, {}), "root": str(self.folder), "download": self.download}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return cls(**{key: value for key, value in given.items() if key in known})
        except Exception as error:
            # Readers of missing or damaged files raise whatever they stumble over.
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> GancoreError:
        action = "can't be downloaded to" if self.download else "can't be read from"
        remedy = "delete what is damaged there" if self.download else "set GANCORE_DATA, or [data] download = true"
        cause = f"{type(error).__name__}: {first_line(error)[:120]}"
        return GancoreError(f"torchvision's {self.name} {action} {self.folder} ({cause}); {remedy}.")
