"""``gancore doctor``: what this machine has, and what is wrong with it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from gancore.errors import GancoreError, first_line
from gancore.files import cache_root
from gancore.version import __version__

if TYPE_CHECKING:
    from gancore.recipe import Registry


def examine(registry: Registry) -> tuple[list[str], bool]:
    """Return what there is to say, a line each, and whether nothing is broken."""
    lines = [*_versions(), *_devices(), f"cache {cache_root()}", "plugins"]
    healthy = True
    for plugin in registry.plugins():
        state = f"BROKEN: {plugin.problem}" if plugin.problem else "; ".join(plugin.warnings) or "fine"
        lines.append(f"  {plugin.name:14} {plugin.distribution} {plugin.version}: {state}")
        healthy = healthy and not plugin.problem
        try:
            lines += [f"  {'':14} {line}" for line in plugin.hooks.get("gancore_doctor", list)()]
        except Exception as error:
            problem = str(error) if isinstance(error, GancoreError) else f"{type(error).__name__}: {first_line(error)}"
            lines.append(f"  {'':14} BROKEN: {problem}")
            healthy = False
    return lines, healthy


def _versions() -> Iterator[str]:
    yield f"gancore {__version__}, Python {platform.python_version()}, {platform.platform()}"
    for name in ("torch", "numpy", "safetensors", "pluggy", "attrs", "click"):
        yield f"  {name:14} {metadata.version(name)}"


def _devices() -> Iterator[str]:
    import torch

    from gancore.engine import choose_device, choose_precision, processor

    device = choose_device("auto")
    yield "device"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor()}, {torch.get_num_threads()} threads"
    yield f"  {device.type:14} {name}"
    precision = choose_precision("auto", device)
    yield f"  {'precision':14} auto means {precision.name} here: {precision.why}"
