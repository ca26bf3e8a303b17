"""``gancore plugins`` and ``gancore doctor``: what is installed, what this machine has, and what is wrong. Imports no torch."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import metadata

import click

from gancore.errors import NO_PLUGIN, GancoreError
from gancore.files import cache_root
from gancore.registry import Broken, Plugin, registry, yielded
from gancore.showing import say
from gancore.version import __version__


@click.command()
def plugins() -> None:
    """List the installed plugins, and what is wrong with them."""
    installed = registry()
    if not installed.plugins():
        say(NO_PLUGIN)
    owners = [name.split("/")[0] for name in installed.recipes()]
    for plugin in installed.plugins():
        numbers = {kind: len(declared) for kind, declared in plugin.components.items()}
        numbers |= {"recipe": owners.count(plugin.name)}
        counts = [_counted(number, kind) for kind, number in numbers.items() if number]
        counts += [f"observes (--track {plugin.name})"] if plugin.observes else []
        state = "broken" if plugin.problem else ", ".join(counts) or "declares nothing"
        say(f"{plugin.name:16} {plugin.distribution} {plugin.version}: {state}")
        for line in filter(None, (plugin.problem, *plugin.warnings)):
            say(f"{'':16} {line}")


def _counted(number: int, noun: str) -> str:
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural}"


@click.command()
def doctor() -> None:
    """Print versions, the device, and what plugins lack.

    Ends with exit status 1 where a plugin is broken.
    """
    for line in (*_versions(), *_devices(), _cache(), "plugins"):
        say(line)
    healthy = [_examine(plugin) for plugin in registry().plugins()]
    if not all(healthy):
        sys.exit(1)


def _versions() -> Iterator[str]:
    yield f"gancore {__version__}, Python {platform.python_version()}, {platform.platform()}"
    for name in ("torch", "numpy", "safetensors", "pluggy", "attrs", "click"):
        yield f"  {name:14} {metadata.version(name)}"


def _devices() -> Iterator[str]:
    import torch

    from gancore.engine import choose_device, choose_precision, processor

    device, threads = choose_device("auto"), torch.get_num_threads()
    yield "device"
    cpu = f"{processor()}, {threads} thread{'s' * (threads != 1)}"
    yield f"  {device.type:14} {torch.cuda.get_device_name(device) if device.type == 'cuda' else cpu}"
    precision, why = choose_precision("auto", device)
    yield f"  {'precision':14} auto means {precision} here: {why}"


def _cache() -> str:
    try:
        return f"cache {cache_root()}"
    except GancoreError as error:
        return f"no cache: {error}"


def _examine(plugin: Plugin) -> bool:
    """Print the state of a plugin, and return whether nothing is broken."""
    state = f"BROKEN: {plugin.problem}" if plugin.problem else "; ".join(plugin.warnings) or "fine"
    say(f"  {plugin.name:14} {plugin.distribution} {plugin.version}: {state}")
    try:
        # It may import what is heavy, to say whether it is there.
        for line in yielded(plugin, plugin.hooks, "gancore_doctor", seconds=60):
            say(f"  {'':14} {line}")
    except Broken as error:
        cause = error.__cause__
        say(f"  {'':14} BROKEN: {cause if isinstance(cause, GancoreError) else error}")
        return False
    return not plugin.problem
