"""Image sets: the well-known ones, LSUN, and a folder of your own; and points in the plane."""

from __future__ import annotations

from gancore_standard.datasets.digits import Digits
from gancore_standard.datasets.gaussians import GaussianGrid, GaussianRing
from gancore_standard.datasets.image_files import ImageFiles
from gancore_standard.datasets.image_folder import ImageFolder
from gancore_standard.datasets.lsun import LsunClasses
from gancore_standard.datasets.torchvision_by_name import TorchvisionByName
from gancore_standard.datasets.torchvision_sets import Cifar10, Cifar100, FashionMnist, Mnist, Svhn

__all__ = [
    "Cifar10",
    "Cifar100",
    "Digits",
    "FashionMnist",
    "GaussianGrid",
    "GaussianRing",
    "ImageFiles",
    "ImageFolder",
    "LsunClasses",
    "Mnist",
    "Svhn",
    "TorchvisionByName",
]
