"""Observers of a training: hooks of plugins that are told how it goes, and that can never end it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from gancore import GancoreError
from gancore.tools import Plugin, Registry, did_you_mean, listed, said, shown

if TYPE_CHECKING:
    from gancore.tools import Run

T = TypeVar("T")


def observing(registry: Registry, names: Collection[str], others: Collection[str]) -> list[Plugin]:
    """Return the plugins that are switched on as observers, and others that may have observers.

    Raises:
        GancoreError: One is not installed, is broken, or observes nothing.
    """
    plugins = {plugin.name: plugin for plugin in registry.plugins()}
    able = [plugin.name for plugin in plugins.values() if plugin.observes]
    for name in names:
        if name in plugins and plugins[name].problem:
            raise GancoreError(f"the observer {shown(name)} can't be used: {plugins[name].problem}")
        if name not in able:
            what = "observes nothing" if name in plugins else "is not installed"
            raise GancoreError(f"the observer {shown(name)} {what}{did_you_mean(name, able)}; installed are: {listed(able)}.")
    return [plugins[name] for name in dict.fromkeys([*names, *others]) if name in plugins]


class Observers:
    """The observers of a run; `tell` is told once of each plugin and hook what it raised."""

    def __init__(self, run: Run, plugins: Collection[Plugin], tell: Callable[[str], None]) -> None:
        self.run = run
        self.plugins = plugins
        self.tell = tell
        self._told: set[tuple[str, str]] = set()

    def see(self, hook: str) -> bool:
        """Return whether anybody observes something."""
        return any(hook in plugin.hooks for plugin in self.plugins)

    def __call__(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every observer that has it, with what it asks for."""
        for plugin in self.plugins:
            if hook in plugin.hooks:
                wanted = inspect.signature(plugin.hooks[hook]).parameters
                own = {name: value for name, value in {"run": self.run, **arguments}.items() if name in wanted}
                self.attempt(f"the observer {plugin.name}", hook, partial(plugin.hooks[hook], **own))

    def attempt(self, who: str, what: str, call: Callable[[], T]) -> T | None:
        """Return what code returns that only shows how a training goes; what it raises is told once, and ends nothing."""
        try:
            return call()
        except KeyboardInterrupt:  # a signal
            raise
        except BaseException as error:
            if (who, what) not in self._told:
                self._told.add((who, what))
                self.tell(f"{who} raised {said(error)[:250]} in its {what}; the training goes on")
        return None
