"""``gancore doctor``: what this machine has, and what is wrong with it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from gancore.engine import processor
from gancore.errors import GancoreError
from gancore.files import cache_root
from gancore.version import __version__

if TYPE_CHECKING:
    from gancore.recipe import Registry

DATA = ("cifar10", "cifar100", "mnist", "fashion-mnist", "svhn", "lsun")
OPTIONAL = {"scikit-learn": "the digits", "torch-fidelity": "Inception scores", "lmdb": "LSUN"}


def examine(registry: Registry) -> tuple[list[str], bool]:
    """Return what was found, a line each, and whether nothing is broken."""
    problems = [plugin for plugin in registry.plugins() if plugin.problem]
    lines = [*_versions(), *_devices(), *_data(), "plugins"]
    for plugin in registry.plugins():
        state = f"BROKEN: {plugin.problem}" if plugin.problem else "; ".join(plugin.warnings) or "fine"
        lines.append(f"  {plugin.name:14} {plugin.distribution} {plugin.version}: {state}")
    healthy, line = _torchvision()
    lines.append(line)
    return lines, healthy and not problems


def _versions() -> Iterator[str]:
    yield f"gancore {__version__}, Python {platform.python_version()}, {platform.platform()}"
    for name in ("torch", "torchvision", "numpy", "scipy", "safetensors", "pluggy", "attrs", "click"):
        yield f"  {name:14} {metadata.version(name)}"
    for name, use in OPTIONAL.items():
        try:
            yield f"  {name:14} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield f"  {name:14} not installed (optional: {use})"


def _devices() -> Iterator[str]:
    import torch

    from gancore.engine import choose_device, choose_precision

    device = choose_device("auto")
    yield "device"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor()}, {torch.get_num_threads()} threads"
    yield f"  {device.type:14} {name}"
    precision = choose_precision("auto", device)
    yield f"  {'precision':14} auto means {precision.name} here: {precision.why}"


def _data() -> Iterator[str]:
    root = os.environ.get("GANCORE_DATA")
    yield f"data (GANCORE_DATA = {root or 'not set'})"
    for name in DATA:
        found = root is not None and (Path(root) / name).is_dir()
        yield f"  {name:14} {'found' if found else 'not found'}"
    yield f"  {'cache':14} {cache_root()}"


def _torchvision() -> tuple[bool, str]:
    from gancore_standard.torchvision_import import torchvision

    try:
        torchvision()
    except GancoreError as error:
        return False, f"torchvision: {error}"
    return True, "torchvision imports"
