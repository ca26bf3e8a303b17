"""What is installed, by name: plugins, their components, their recipes. Imports no torch but for an optimizer of torch's."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import gancore.contract as contract
from gancore.errors import NO_PLUGIN, GancoreError, did_you_mean, shown
from gancore.registry.discovery import GROUP, Declared, Plugin, discover, examined, said
from gancore.version import __version__

TORCH = "torch"


class Registry:
    """All installed plugins and what they declare.

    Args:
        plugins: The plugins, by name.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self._plugins = {plugin.name: plugin for plugin in plugins}

    @classmethod
    def discover(cls, entry_points: Iterable[metadata.EntryPoint] | None = None) -> Registry:
        """Return the registry of everything that is installed, or of some entry points."""
        return cls(discover(metadata.entry_points(group=GROUP) if entry_points is None else entry_points))

    @classmethod
    def of(cls, modules: Mapping[str, ModuleType]) -> Registry:
        """Return a registry of some declaring modules, by plugin name; for tests."""
        return cls(
            examined(Plugin(name, f"gancore-plugin-{name}", __version__, module.__name__), module)
            for name, module in modules.items()
        )

    def plugins(self) -> list[Plugin]:
        """Return all plugins by name, broken ones too."""
        return list(self._plugins.values())

    def plugin_versions(self, names: Collection[str]) -> dict[str, str]:
        """Return ``plugin -> distribution version`` of the named plugins."""
        return {name: f"{plugin.distribution} {plugin.version}" for name, plugin in self._plugins.items() if name in names}

    def _check_plugin(self, name: str, what: str) -> None:
        """Refuse a full name whose plugin is not there, or broken; `what` begins the sentence."""
        if ":" in name:
            raise GancoreError(f"{what} is code without a plugin, which runs where --trust-local, or Python, gives it alone.")
        prefix, slash, _ = name.partition("/")
        plugin = self._plugins.get(prefix)
        if plugin is not None and plugin.problem and slash:
            raise GancoreError(f"{what} can't be used: {plugin.problem}")
        if plugin is None and slash and prefix != TORCH:
            remedy = remedy_for(prefix) or "ask whoever named it where it comes from"
            near = did_you_mean(prefix, self._plugins)
            raise GancoreError(f"{what} needs the plugin {shown(prefix)}, which is not installed{near}; {remedy}.")

    def components(self, kind: str | None = None) -> list[Declared]:
        """Return the components of a kind, or all."""
        return [
            c for p in self._plugins.values() for k, declared in p.components.items() if kind in (None, k) for c in declared
        ]

    def component(self, kind: str, name: str, where: str) -> Declared:
        """Return a component by full name, or by bare name while that is unique.

        Args:
            kind: Its kind.
            name: ``plugin/name`` or ``name``.
            where: Names the place for the error.

        Raises:
            GancoreError: No such component, several, or one of a broken plugin.
        """
        known, further = self.components(kind), ""
        matches = [c for c in known if name in (c.full_name, c.name)]
        if kind == "optimizer" and not matches:
            known, further = [*known, *torch_optimizers()], " and torch.optim"
            matches = [c for c in known if name.lower() in (c.full_name.lower(), c.name.lower())]
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = " and ".join(f"{c.full_name} (of {c.distribution} {c.version})" for c in matches)
            raise GancoreError(f"{where} uses {shown(name)}, which is ambiguous: it may be {names}; write the full name.")
        what = f"{where} uses the {kind} {shown(name)}, which"
        if others := {c.kind for c in self.components() if name in (c.full_name, c.name)}:
            raise GancoreError(f"{what} is {' and '.join(map(_a, sorted(others)))}, not {_a(kind)}.")
        self._check_plugin(name, what)
        near = did_you_mean(name, [c.full_name if "/" in name else c.name for c in known])
        raise GancoreError(f"{what} does not exist{near}; see `gancore components {kind}`{further}.")

    def load(self, declared: Declared) -> Any:
        """Import a component and return its class, function or command.

        Raises:
            GancoreError: It can't be imported, or is not what it was declared as.
        """
        who = f"{declared.full_name} of {declared.distribution} {declared.version}"
        remedy = f"upgrade or uninstall {declared.distribution}, or tell its author."
        module, attribute = declared.target.split(":")
        try:
            loaded = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
        except (GancoreError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise GancoreError(f"{who} can't be loaded from {declared.target}: {said(error)}; {remedy}") from error
        if wanted := _mismatch(declared.kind, loaded):
            raise GancoreError(f"{who} is declared as {_a(declared.kind)}, but {declared.target} is not {wanted}; {remedy}")
        return loaded

    def named(self, kind: str) -> dict[str, Declared]:
        """Return the components of a kind by bare name; a name that two plugins claim is left out."""
        components = self.components(kind)
        names = [component.name for component in components]
        return {component.name: component for component in components if names.count(component.name) == 1}

    def recipes(self) -> dict[str, Path]:
        """Return all installed recipes, ``plugin/stem`` -> file."""
        return {
            f"{plugin.name}/{path.stem}": path
            for plugin in self._plugins.values()
            for folder in plugin.recipes
            for path in sorted(folder.glob("*.toml"))
        }

    def recipe_path(self, name: str) -> Path:
        """Return the file of a recipe by full name, or by bare name while that is unique.

        Raises:
            GancoreError: No such recipe, or several.
        """
        recipes = self.recipes()
        bare = [full.partition("/")[2] for full in recipes]
        matches = [full for full, own in zip(recipes, bare, strict=True) if name in (full, own)]
        if len(matches) == 1:
            return recipes[matches[0]]
        if matches:
            raise GancoreError(f"the recipe {shown(name)} is ambiguous: it may be {' or '.join(matches)}; write the full name.")
        self._check_plugin(name, f"the recipe {shown(name)}")
        near = f"; for the file of that name write ./{name}" if os.path.isfile(name) else did_you_mean(name, [*recipes, *bare])  # noqa: PTH113
        why = f"{near}; see `gancore recipes`, or name a .toml file."
        raise GancoreError(f"there is no recipe {shown(name)}{why if self._plugins else f': {NO_PLUGIN}'}")


def torch_optimizers() -> list[Declared]:
    """Return the optimizers of `torch.optim`, as if torch were a plugin. Imports torch."""
    import torch

    owner = {"plugin": TORCH, "distribution": TORCH, "version": torch.__version__}
    return [
        Declared(kind="optimizer", name=name, target=f"torch.optim:{name}", summary=f"{name} of torch.optim", **owner)
        for name, cls in vars(torch.optim).items()
        if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
    ]


def _mismatch(kind: str, loaded: Any) -> str | None:
    """Return what a component should be, in words, where it is none; otherwise None."""
    if kind == "command":
        import click

        return None if isinstance(loaded, click.Command) else "a click.Command"
    base = contract.KINDS[kind].base
    if not base:
        return None if callable(loaded) else "a function"
    fits = inspect.isclass(loaded) and issubclass(loaded, getattr(contract, base))
    return None if fits else f"a subclass of gancore.{base}"


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def remedy_for(plugin: str) -> str | None:
    """Return what installs a plugin that ``gancore[all]`` brings; what else a recipe names may be a stranger's trap."""
    ours: set[str] = set()
    with contextlib.suppress(metadata.PackageNotFoundError):
        ours = {re.split(r"[^\w-]", need)[0] for need in metadata.requires("gancore") or ()}
    return f"try `pip install gancore-plugin-{plugin}`" if f"gancore-plugin-{plugin}" in ours else None


def functions() -> dict[str, Callable[[], Any]]:
    """Return what loads each function that plugins add to the names of `gancore`."""
    return {name: functools.partial(registry().load, each) for name, each in registry().named("function").items()}


@functools.cache
def registry() -> Registry:
    """Return the registry of the installed plugins, discovered once."""
    return Registry.discover()
