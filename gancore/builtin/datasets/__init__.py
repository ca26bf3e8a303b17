"""The image sets that ship with core."""

from __future__ import annotations

from gancore.builtin.datasets.digits import Digits
from gancore.builtin.datasets.fixed import Cifar10, Cifar100, FashionMnist, Mnist, Svhn
from gancore.builtin.datasets.folder import ImageFolder
from gancore.builtin.datasets.lsun import LsunClasses

__all__ = ["Cifar10", "Cifar100", "Digits", "FashionMnist", "ImageFolder", "LsunClasses", "Mnist", "Svhn"]
