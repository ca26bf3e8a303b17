"""What ``gancore doctor`` says of the standard components: which image sets and optional packages are here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from gancore_standard.datasets.folders import data_root, exists
from gancore_standard.torchvision_import import torchvision

SETS = ("cifar10", "cifar100", "mnist", "fashion-mnist", "svhn", "lsun")
OPTIONAL = {"scikit-learn": "the digits", "torch-fidelity": "Inception scores", "lmdb": "LSUN", "simplejpeg": "faster JPEG"}


def diagnosis() -> Iterator[str]:
    """Yield a line for each thing that the components need of this machine.

    Raises:
        GancoreError: torchvision can't be imported.
    """
    root = data_root(None)
    for name in SETS:
        yield f"{name} {'found' if exists(root / name) else 'not found'} in {root}"
    for name, use in OPTIONAL.items():
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"{name} not installed (optional: {use})"
    yield f"torchvision {torchvision().__version__} imports"
