"""Finds plugins and components: names, conflicts, broken plugins. Imports no torch.

Discovery is our own small piece on `importlib.metadata`, because pluggy's loader lets one broken plugin abort the rest without
naming its distribution, lets one of two distributions with the same entry point win silently, and registers a mistyped hook
silently. A broken plugin is isolated here, and fatal when a recipe uses it, with the same words both times.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from gancore import contract
from gancore.contract import GANCORE_API, KINDS, OBSERVERS, Component, Hooks
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.recipe.discovery import GROUP, NAME, Broken, Declared, Plugin, _same, said
from gancore.version import __version__

_BASES = {
    "loss": "LossTerm",
    "head": "Head",
    "sampler": "Sampler",
    "latent": "Latent",
    "attack": "Attack",
    "loop": "Loop",
    "network": "Network",
    "dataset": "Dataset",
    "metric": "Metric",
}
_OTHERS = {
    "accelerator": "a function",
    "image-format": "a function",
    "command": "a click.Command",
    "optimizer": "a class or function",
    "schedule": "a function",
}


def torch_optimizers() -> list[Declared]:
    """Return the optimizers of `torch.optim`, as if torch were a plugin. Imports torch."""
    import torch

    return [
        Declared("optimizer", name, "torch", f"torch.optim:{name}", f"{name} of torch.optim", "", "torch", torch.__version__)
        for name, cls in vars(torch.optim).items()
        if inspect.isclass(cls) and issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
    ]


class Registry:
    """All installed plugins and what they declare."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("gancore")
        self._manager.add_hookspecs(Hooks)
        self._plugins: dict[str, Plugin] = {}

    @classmethod
    def discover(cls, entry_points: Iterable[metadata.EntryPoint] | None = None) -> Registry:
        """Return the registry of everything that is installed.

        Args:
            entry_points: Instead of those of the environment.
        """
        registry = cls()
        found: dict[str, list[Plugin]] = {}
        for point in metadata.entry_points(group=GROUP) if entry_points is None else entry_points:
            distribution, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")
            plugin = Plugin(point.name, distribution, version, point.value)
            # An editable and an ordinary installation of one distribution may both be seen.
            if plugin not in found.setdefault(point.name, []):
                found[point.name].append(plugin)
        for name, claims in sorted(found.items()):
            if len(claims) > 1:
                registry._add_conflict(name, claims)
            else:
                registry._add(claims[0], functools.partial(importlib.import_module, claims[0].module))
        return registry

    @classmethod
    def of(cls, modules: Mapping[str, ModuleType]) -> Registry:
        """Return a registry of given declaring modules, by plugin name; for tests."""
        registry = cls()
        for name, module in modules.items():
            registry._add(
                Plugin(name, f"gancore-plugin-{name}", __version__, module.__name__), functools.partial(_same, module)
            )
        return registry

    # -- discovery -----------------------------------------------------------------------------------------------------

    def _add_conflict(self, name: str, claims: list[Plugin]) -> None:
        parties = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in claims)
        self._plugins[name] = Plugin(name, parties, "", ", ".join(plugin.module for plugin in claims))
        self._plugins[
            name
        ].problem = (
            f"the distributions {parties} both register a gancore plugin called {name!r}, so neither is used; uninstall one."
        )

    def _add(self, plugin: Plugin, importer: Callable[[], ModuleType]) -> None:
        self._plugins[plugin.name] = plugin
        try:
            if not NAME.fullmatch(plugin.name):
                raise Broken("its name must be lower-case letters, digits and dashes")
            had_torch = "torch" in sys.modules
            module = self._import(importer)
            if not had_torch and "torch" in sys.modules:
                plugin.warnings.append(
                    f"importing {plugin.module} imports torch, which slows down every command; declare components by name."
                )
            self._validate(module)
            self._manager.register(module, plugin.name)
            self._collect(plugin, module)
        except Broken as error:
            if self._manager.has_plugin(plugin.name):
                self._manager.unregister(name=plugin.name)
            plugin.components, plugin.recipes = {}, []
            cause = str(error).rstrip(".")
            plugin.problem = (
                f"the plugin {plugin.name!r} of {plugin.distribution} {plugin.version} (entry point "
                f"{plugin.name} = {plugin.module}) is broken: {cause}; "
                f"upgrade or uninstall {plugin.distribution}, or tell its author."
            )

    @staticmethod
    def _import(importer: Callable[[], ModuleType]) -> ModuleType:
        try:
            return importer()
        except (Exception, SystemExit) as error:
            raise Broken(f"importing it raised {said(error)}") from error

    @staticmethod
    def _validate(module: ModuleType) -> None:
        api = getattr(module, "GANCORE_API", GANCORE_API)
        if api != GANCORE_API:
            raise Broken(
                f"it is written for version {api!r} of the plugin contract, and this gancore has version {GANCORE_API}"
            )
        known = {*KINDS.values(), *OBSERVERS, "gancore_recipes", "gancore_doctor"}
        for name, value in vars(module).items():
            if not inspect.isfunction(value):
                continue
            marked = hasattr(value, "gancore_impl")
            if marked and name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did it mean {near[0]}?" if near else ""
                raise Broken(f"{name} is no hook of gancore{hint}")
            if not marked and name in known:
                raise Broken(f"its {name} lacks the decorator @gancore.hookimpl")
            if marked:
                Registry._validate_arguments(name, value)

    @staticmethod
    def _validate_arguments(name: str, function: Callable[..., Any]) -> None:
        offered = set(inspect.signature(getattr(Hooks, name)).parameters) - {"self"}
        unknown = set(inspect.signature(function).parameters) - offered
        if unknown:
            raise Broken(
                f"its {name} asks for {listed(unknown)}, which the hook does not give "
                f"(it gives {listed(offered, none='nothing')})"
            )

    @staticmethod
    def _yielded(module: ModuleType, hook: str) -> list[Any]:
        function = getattr(module, hook, None)
        if function is None:
            return []
        try:
            return list(function() or ())
        except (Exception, SystemExit) as error:
            raise Broken(f"its {hook} raised {said(error)}") from error

    def _collect(self, plugin: Plugin, module: ModuleType) -> None:
        for kind, hook in KINDS.items():
            names: set[str] = set()
            for component in self._yielded(module, hook):
                if not isinstance(component, Component):
                    raise Broken(f"its {hook} yields {component!r}, which is no gancore.Component")
                if component.name in names:
                    raise Broken(f"its {hook} yields {component.name!r} twice")
                names.add(component.name)
                plugin.components.setdefault(kind, []).append(
                    Declared(
                        kind,
                        component.name,
                        plugin.name,
                        component.target,
                        component.summary,
                        component.cite,
                        plugin.distribution,
                        plugin.version,
                    )
                )
        for folder in self._yielded(module, "gancore_recipes"):
            if not isinstance(folder, Path) or not folder.is_dir():
                raise Broken(f"its gancore_recipes yields {str(folder)!r}, which is no folder")
            plugin.recipes.append(folder)

    # -- asking --------------------------------------------------------------------------------------------------------

    def plugins(self) -> list[Plugin]:
        """Return all plugins by name, broken ones too."""
        return list(self._plugins.values())

    def components(self, kind: str | None = None) -> list[Declared]:
        """Return the components of a kind, or all."""
        return [c for p in self._plugins.values() for k, found in p.components.items() if kind in (None, k) for c in found]

    def component(self, kind: str, name: str, where: str) -> Declared:
        """Return a component by full name, or by bare name while that is unique.

        Args:
            kind: Its kind.
            name: ``plugin/name`` or ``name``.
            where: Names the place for the error.

        Raises:
            GancoreError: No such component, several, or one of a broken plugin.
        """
        matches = [c for c in self.components(kind) if name in (c.full_name, c.name)]
        if kind == "optimizer" and not matches:
            matches = [c for c in torch_optimizers() if name.lower() in (c.full_name.lower(), c.name.lower())]
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = " and ".join(f"{c.full_name} (of {c.distribution} {c.version})" for c in matches)
            raise GancoreError(f"{where} uses {name!r}, which is ambiguous: it may be {names}; write the full name.")
        raise GancoreError(f"{where} uses the {kind} {name!r}, which {self._why_missing(kind, name)}")

    def _why_missing(self, kind: str, name: str) -> str:
        prefix, slash, _ = name.partition("/")
        others = torch_optimizers() if kind == "optimizer" and prefix in (name, "torch") else []
        if others and slash:
            return f"does not exist{did_you_mean(name, [c.full_name for c in others])}; see torch.optim."
        if slash and prefix in self._plugins and self._plugins[prefix].problem:
            return f"can't be used: {self._plugins[prefix].problem}"
        if slash and prefix not in self._plugins:
            near = did_you_mean(prefix, self._plugins)
            return f"needs the plugin {prefix!r}, which is not installed{near}; try `pip install gancore-plugin-{prefix}`."
        kinds = {c.kind for c in self.components() if name in (c.full_name, c.name)}
        if kinds:
            return f"is {' and '.join(map(_a, sorted(kinds)))}, not {_a(kind)}."
        known = [c.full_name if slash else c.name for c in (*self.components(kind), *others)]
        return f"does not exist{did_you_mean(name, known)}; see `gancore components {kind}`."

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
        except (Exception, SystemExit) as error:
            if isinstance(error, GancoreError):
                raise
            raise GancoreError(f"{who} can't be loaded from {declared.target}: {said(error)}; {remedy}") from error
        if not self._is_of(declared.kind, loaded):
            wanted = _OTHERS.get(declared.kind) or f"a subclass of gancore.{_BASES[declared.kind]}"
            raise GancoreError(f"{who} is declared as {_a(declared.kind)}, but {declared.target} is not {wanted}; {remedy}")
        return loaded

    @staticmethod
    def _is_of(kind: str, loaded: Any) -> bool:
        if kind == "command":
            import click

            return isinstance(loaded, click.Command)
        if kind in _OTHERS:
            return callable(loaded)
        return inspect.isclass(loaded) and issubclass(loaded, getattr(contract, _BASES[kind]))

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
        found = self.recipes()
        matches = [full for full in found if name == full or name == full.split("/", 1)[1]]
        if len(matches) == 1:
            return found[matches[0]]
        if matches:
            raise GancoreError(f"the recipe {name!r} is ambiguous: it may be {' or '.join(matches)}; write the full name.")
        prefix, slash, _ = name.partition("/")
        if slash and prefix in self._plugins and self._plugins[prefix].problem:
            raise GancoreError(f"the recipe {name!r} can't be used: {self._plugins[prefix].problem}")
        if slash and prefix not in self._plugins:
            near = did_you_mean(prefix, self._plugins)
            raise GancoreError(
                f"the recipe {name!r} needs the plugin {prefix!r}, which is not installed{near}; "
                f"try `pip install gancore-plugin-{prefix}`."
            )
        known = [*found, *(full.split("/", 1)[1] for full in found)]
        raise GancoreError(
            f"there is no recipe {name!r}{did_you_mean(name, known)}; see `gancore recipes`, or name a .toml file."
        )

    def commands(self) -> dict[str, Declared]:
        """Return the commands of plugins; a name that two plugins claim is left out."""
        found: dict[str, list[Declared]] = {}
        for declared in self.components("command"):
            found.setdefault(declared.name, []).append(declared)
        return {name: claims[0] for name, claims in found.items() if len(claims) == 1}

    def plugin_versions(self, names: Collection[str]) -> dict[str, str]:
        """Return ``plugin -> distribution version`` of the named plugins."""
        return {name: f"{plugin.distribution} {plugin.version}" for name, plugin in self._plugins.items() if name in names}

    def diagnosis(self, plugin: Plugin) -> Iterable[str]:
        """Return the lines that a plugin has for `gancore doctor`; making them may raise anything."""
        return getattr(self._manager.get_plugin(plugin.name), "gancore_doctor", list)()

    def observers(self, names: Collection[str]) -> Callable[..., None]:
        """Return a function that calls an observer hook of the named plugins: ``observe("gancore_logged", run=...)``."""
        others = [p for name, p in self._manager.list_name_plugin() if name not in names]

        def observe(hook: str, **arguments: Any) -> None:
            self._manager.subset_hook_caller(hook, others)(**arguments)

        return observe


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


@functools.cache
def registry() -> Registry:
    """Return the registry of the installed plugins, discovered once."""
    return Registry.discover()
