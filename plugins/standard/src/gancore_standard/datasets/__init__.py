"""The image sets that ship with core."""

from __future__ import annotations

from gancore_standard.datasets.digits import Digits
from gancore_standard.datasets.fixed import Cifar10, Cifar100, FashionMnist, Mnist, Svhn
from gancore_standard.datasets.image_folder import ImageFolder
from gancore_standard.datasets.lsun import LsunClasses

__all__ = ["Cifar10", "Cifar100", "Digits", "FashionMnist", "ImageFolder", "LsunClasses", "Mnist", "Svhn"]
