"""Finds the installed plugins and what they declare, and says what makes one broken. Imports no torch.

Discovery is our own small piece on `importlib.metadata`, because pluggy's loader lets one broken plugin abort the rest without
naming its distribution, lets one of two distributions with the same entry point win silently, and registers a mistyped hook
silently. A broken plugin is isolated here, and fatal when a recipe uses it, with the same words both times.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from gancore.contract import GANCORE_API, KINDS, OBSERVERS, Component, Hooks
from gancore.errors import did_you_mean, listed

GROUP = "gancore"
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
HOOKS = frozenset(name for name in vars(Hooks) if name.startswith("gancore_"))


@attrs.frozen
class Declared:
    """A component with who declared it.

    Attributes:
        kind: One of `gancore.contract.hooks.KINDS`.
        name: Bare name.
        plugin: Name of the plugin.
        target: ``module:attribute``.
        summary: One line.
        cite: The paper.
        distribution: Name of the distribution.
        version: Its version.
    """

    kind: str
    name: str
    plugin: str
    target: str
    summary: str
    cite: str
    distribution: str
    version: str

    @property
    def full_name(self) -> str:
        """``plugin/name``."""
        return f"{self.plugin}/{self.name}"


@attrs.define
class Plugin:
    """An installed plugin.

    Attributes:
        name: Name of its entry point.
        distribution: Who brought it.
        version: The distribution's version.
        module: Name of the module that declares.
        components: What it declares, by kind.
        recipes: Folders of recipes.
        hooks: Its functions that are called later, by name.
        problem: Why it can't be used, or None.
        warnings: What is not as it should be, but harmless.
    """

    name: str
    distribution: str
    version: str
    module: str
    components: dict[str, list[Declared]] = attrs.field(factory=dict)
    recipes: list[Path] = attrs.field(factory=list)
    hooks: dict[str, Any] = attrs.field(factory=dict, repr=False)
    problem: str | None = None
    warnings: list[str] = attrs.field(factory=list)


class _Broken(Exception):  # noqa: N818 - turned into a plugin's problem
    """Why a plugin is broken."""


def said(error: BaseException) -> str:
    """Return an error's class and text in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def discover(entry_points: Iterable[metadata.EntryPoint]) -> list[Plugin]:
    """Return the plugins of some entry points, by name, broken ones too."""
    claims: dict[str, list[Plugin]] = {}
    for point in entry_points:
        distribution, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")
        plugin = Plugin(point.name, distribution, version, point.value)
        # An editable and an ordinary installation of one distribution may both be seen.
        if plugin not in claims.setdefault(point.name, []):
            claims[point.name].append(plugin)
    return [examined(several[0]) if len(several) == 1 else _conflict(several) for _, several in sorted(claims.items())]


def _conflict(claims: list[Plugin]) -> Plugin:
    name = claims[0].name
    parties = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in claims)
    problem = f"the distributions {parties} both register a gancore plugin called {name!r}, so neither is used; uninstall one."
    return Plugin(name, parties, "", ", ".join(plugin.module for plugin in claims), problem=problem)


def examined(plugin: Plugin, module: ModuleType | None = None) -> Plugin:
    """Return a plugin with what its module declares, or with why it can't be used.

    Args:
        plugin: The plugin, of which nothing but the names is known.
        module: The declaring module, where it is not imported by its name.
    """
    try:
        if not NAME.fullmatch(plugin.name):
            raise _Broken("its name must be lower-case letters, digits and dashes")
        had_torch = "torch" in sys.modules
        module = module or _import(plugin.module)
        if not had_torch and "torch" in sys.modules:
            plugin.warnings.append(
                f"importing {plugin.module} imports torch, which slows down every command; declare components by name."
            )
        _validate(module)
        components = {kind: _declared(plugin, module, kind, hook) for kind, hook in KINDS.items() if hasattr(module, hook)}
        recipes = _yielded(module, "gancore_recipes")
        for folder in recipes:
            if not isinstance(folder, Path) or not folder.is_dir():
                raise _Broken(f"its gancore_recipes yields {str(folder)!r}, which is no folder")
        hooks = {name: vars(module)[name] for name in (*OBSERVERS, "gancore_doctor") if name in vars(module)}
        return attrs.evolve(plugin, components=components, recipes=recipes, hooks=hooks)
    except _Broken as error:
        problem = (
            f"the plugin {plugin.name!r} of {plugin.distribution} {plugin.version} (entry point "
            f"{plugin.name} = {plugin.module}) is broken: {str(error).rstrip('.')}; "
            f"upgrade or uninstall {plugin.distribution}, or tell its author."
        )
        return attrs.evolve(plugin, problem=problem)


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except BaseException as error:
        # Whatever it raises, SystemExit and KeyboardInterrupt too, is no reason to end a command that may not need it.
        raise _Broken(f"importing it raised {said(error)}") from error


def _validate(module: ModuleType) -> None:
    """Refuse a contract of another version, mistyped hooks, and hooks that ask for what they don't get."""
    api = getattr(module, "GANCORE_API", GANCORE_API)
    if api != GANCORE_API:
        raise _Broken(f"it is written for version {api!r} of the plugin contract, and this gancore has version {GANCORE_API}")
    for name, function in vars(module).items():
        if not inspect.isfunction(function):
            continue
        marked = hasattr(function, "gancore_impl")
        if marked and name not in HOOKS:
            raise _Broken(f"{name} is no hook of gancore{did_you_mean(name, HOOKS)}")
        if name not in HOOKS:
            continue
        if not marked:
            raise _Broken(f"its {name} lacks the decorator @gancore.hookimpl")
        offered = set(inspect.signature(getattr(Hooks, name)).parameters) - {"self"}
        if unknown := set(inspect.signature(function).parameters) - offered:
            raise _Broken(
                f"its {name} asks for {listed(unknown)}, which the hook does not give "
                f"(it gives {listed(offered, none='nothing')})"
            )


def _declared(plugin: Plugin, module: ModuleType, kind: str, hook: str) -> list[Declared]:
    """Return what a plugin declares of a kind."""
    components: dict[str, Declared] = {}
    for component in _yielded(module, hook):
        if not isinstance(component, Component):
            raise _Broken(f"its {hook} yields {component!r}, which is no gancore.Component")
        if component.name in components:
            raise _Broken(f"its {hook} yields {component.name!r} twice")
        components[component.name] = Declared(
            kind, plugin=plugin.name, distribution=plugin.distribution, version=plugin.version, **attrs.asdict(component)
        )
    return list(components.values())


def _yielded(module: ModuleType, hook: str) -> list[Any]:
    try:
        return list(getattr(module, hook, list)() or ())
    except BaseException as error:
        raise _Broken(f"its {hook} raised {said(error)}") from error
