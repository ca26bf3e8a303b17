"""Finds the installed plugins and what they declare, and says what makes one broken. Imports no torch.

Discovery is our own small piece on `importlib.metadata`, because pluggy's loader lets one broken plugin abort the rest without
naming its distribution, lets one of two distributions with the same entry point win silently, and registers a mistyped hook
silently. A broken plugin is isolated here, and fatal when a recipe uses it, with the same words both times.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import attrs

from gancore.contract import GANCORE_API, KINDS, OLDEST_API, Component, Hooks
from gancore.errors import did_you_mean, listed, plain, shown
from gancore.registry.isolation import SECONDS, CtrlC, TooLong, isolated

T = TypeVar("T")

GROUP = "gancore"
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
RESERVED = ("core", "gancore", "torch")
"""Names that no plugin may have: a reader would take what is of theirs for gancore's or torch's own."""

MOST = 1000
"""The most that a hook may yield."""

HOOKS: dict[str, set[str]] = {kind.hook: set() for kind in KINDS.values()} | {
    name: set(inspect.signature(hook).parameters) - {"self"}
    for name, hook in vars(Hooks).items()
    if name.startswith("gancore_")
}
"""Every hook -> the names of the arguments that it gives."""


@attrs.frozen(kw_only=True)
class Declared(Component):
    """A component with who declared it.

    Attributes:
        kind: One of `gancore.contract.hooks.KINDS`.
        plugin: Name of the plugin.
        distribution: Name of the distribution.
        version: Its version.
    """

    kind: str
    name: str  # with capitals where torch has them
    plugin: str
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
        hooks: Its hooks, by name.
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

    @property
    def observes(self) -> bool:
        """Whether it has hooks about runs, so that it may be switched on as an observer."""
        return any("run" in HOOKS[name] for name in self.hooks)


class Broken(Exception):  # noqa: N818 - turned into a plugin's problem
    """Why a plugin is broken."""


def said(error: BaseException) -> str:
    """Return an error's class and text in one line."""
    try:
        text = plain(" ".join(str(error).split()))
    except (CtrlC, TooLong):
        raise
    except BaseException:  # a stranger's error may have no text
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def discover(entry_points: Iterable[metadata.EntryPoint]) -> list[Plugin]:
    """Return the plugins of some entry points, by name, broken ones too."""
    claims: dict[str, list[Plugin]] = {}
    for point in entry_points:
        distribution, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")
        plugin = Plugin(plain(point.name), plain(str(distribution)), plain(str(version)), plain(point.value))
        # An editable and an ordinary installation of one distribution may both be seen.
        if plugin not in claims.setdefault(point.name, []):
            claims[point.name].append(plugin)
    return [examined(several[0]) if len(several) == 1 else _conflict(several) for _, several in sorted(claims.items())]


def _conflict(claims: list[Plugin]) -> Plugin:
    name, parties = claims[0].name, " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in claims)
    problem = f"the distributions {parties} both register a gancore plugin called {name!r}, so neither is used; uninstall one."
    return Plugin(name, parties, "", ", ".join(plugin.module for plugin in claims), problem=problem)


def examined(plugin: Plugin, module: ModuleType | None = None) -> Plugin:
    """Return a plugin with what its module declares, or with why it can't be used.

    Args:
        plugin: The plugin, of which nothing but the names is known.
        module: The declaring module, where it is not imported by its name.
    """
    try:
        if not NAME.fullmatch(plugin.name) or plugin.name in RESERVED:
            raise Broken(f"its name must be lower-case letters, digits and dashes, and none of {listed(RESERVED)}")
        had_torch = "torch" in sys.modules
        module = module or _asked(plugin, lambda: importlib.import_module(plugin.module), "importing it")
        if not had_torch and "torch" in sys.modules:
            plugin.warnings.append(
                f"importing {plugin.module} imports torch, which slows down every command; declare components by name."
            )
        _validate(module)
        plugin.warnings.extend(_api_warnings(getattr(module, "GANCORE_API", GANCORE_API)))
        hooks = {name: hook for name, hook in vars(module).items() if name in HOOKS}
        components = {kind: _declared(plugin, hooks, kind) for kind, each in KINDS.items() if each.hook in hooks}
        recipes = yielded(plugin, hooks, "gancore_recipes")
        for folder in recipes:
            if not isinstance(folder, Path) or not folder.is_dir():
                raise Broken(f"its gancore_recipes yields {shown(str(folder))}, which is no folder")
        return attrs.evolve(plugin, components=components, recipes=recipes, hooks=hooks)
    except Exception as error:
        why = str(error) if isinstance(error, Broken) else said(error)
        problem = (
            f"the plugin {plugin.name!r} of {plugin.distribution} {plugin.version} (entry point "
            f"{plugin.name} = {plugin.module}) is broken: {why.rstrip('.')}; "
            f"upgrade or uninstall {plugin.distribution}, or tell its author."
        )
        return attrs.evolve(plugin, problem=problem)


def _validate(module: ModuleType) -> None:
    """Refuse mistyped hooks, and hooks that ask for what they don't get."""
    functions = {name: value for name, value in vars(module).items() if inspect.isfunction(value)}
    for name, function in functions.items():
        marked = hasattr(function, "gancore_impl")
        if marked and name not in HOOKS:
            raise Broken(f"{name} is no hook of gancore{did_you_mean(name, HOOKS)}")
        if name not in HOOKS:
            continue
        if not marked:
            raise Broken(f"its {name} lacks the decorator @gancore.hookimpl")
        if unknown := set(inspect.signature(function).parameters) - HOOKS[name]:
            gives = listed(HOOKS[name], none="nothing")
            raise Broken(f"its {name} asks for {listed(unknown)}, which the hook does not give (it gives {gives})")


def _declared(plugin: Plugin, hooks: Mapping[str, Any], kind: str) -> list[Declared]:
    """Return what a plugin declares of a kind."""
    hook, components = KINDS[kind].hook, {}
    for component in yielded(plugin, hooks, hook):
        if not isinstance(component, Component):
            raise Broken(f"its {hook} yields {shown(component)}, which is no gancore.Component")
        if component.name in components:
            raise Broken(f"its {hook} yields {component.name!r} twice")
        owner = {"plugin": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
        texts = {name: plain(str(getattr(component, name))) for name in attrs.fields_dict(Component)}
        components[component.name] = Declared(kind=kind, **owner, **texts)
    return list(components.values())


def yielded(plugin: Plugin, hooks: Mapping[str, Any], hook: str, seconds: float = SECONDS) -> list[Any]:
    """Return what a hook of a plugin yields, nothing where it has no such hook.

    Raises:
        Broken: It raises something, yields more than `MOST`, or takes longer than some seconds.
    """
    answer = _asked(plugin, lambda: list(itertools.islice(hooks.get(hook, list)() or (), MOST + 1)), f"its {hook}", seconds)
    if len(answer) > MOST:
        raise Broken(f"its {hook} yields more than {MOST:,}")
    return answer


def _asked(plugin: Plugin, call: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """Return what a plugin's code gives; whatever it does is no reason to end a command that may not need the plugin."""
    told: list[str] = []
    try:
        with isolated(told.append, seconds):
            return _answer(call, what)
    except TooLong as error:
        raise Broken(f"{what} takes longer than {seconds:g} seconds") from error
    finally:
        plugin.warnings.extend(f"{what} {did}, which was undone; tell its author." for did in told)


def _answer(call: Callable[[], T], what: str) -> T:
    try:
        return call()
    except (CtrlC, TooLong):
        raise
    except BaseException as error:
        raise Broken(f"{what} raised {said(error)}") from error


def _api_warnings(stated: Any) -> Iterator[str]:
    """Yield a warning where a plugin is written for an older contract that still works; refuse any other than this one."""
    low, high = stated if isinstance(stated, tuple) and len(stated) == 2 else (stated, stated)
    if not (isinstance(low, int) and isinstance(high, int) and low <= high):
        raise Broken(f"its GANCORE_API must be a version of the contract, or the first and the last, not {shown(stated)}")
    written = f"it is written for version {low if low == high else f'{low} to {high}'} of the plugin contract"
    if low > GANCORE_API or high < OLDEST_API:
        raise Broken(f"{written}, and this gancore has version {GANCORE_API}")
    if high < GANCORE_API:
        yield f"{written}; this gancore has version {GANCORE_API}, and a later one will refuse it; upgrade it."
