"""What is tested: a component of a plugin, with what its author says of it, and what it is read with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import attrs
import pytest

from gancore.tools import Declared, Plugin, Registry, merge
from gancore_testing.hosting import Table, built, host_of, host_registry
from gancore_testing.processes import STEPS, shared_table

Case = tuple[str, Callable[[], None]]


@attrs.frozen
class Remarks:
    """What the author of a plugin says of its components, by bare name.

    Attributes:
        settings: The settings that they require.
        beside: Further tables of the host.
        apart: Why two processes can't compute what one does.
        elsewhere: Why they can't be tried here.
        recipes: Tables laid over the plugin's recipes that are tried.
    """

    settings: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    beside: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    apart: Mapping[str, str] = attrs.field(factory=dict)
    elsewhere: Mapping[str, str] = attrs.field(factory=dict)
    recipes: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)


@attrs.frozen
class Tested:
    """A component under test.

    Attributes:
        declared: The component.
        loaded: Its class, or the function that makes it.
        settings: Those that it needs.
        beside: Further tables that its host needs.
        plugins: The plugins that its host is read with: its own, and those that `beside` names.
    """

    declared: Declared
    loaded: Any
    settings: Mapping[str, Any]
    beside: Table
    plugins: Mapping[str, ModuleType]

    @property
    def registry(self) -> Registry:
        """The host and the plugins that it needs, and no others."""
        return host_registry(self.plugins)

    def table(self) -> Table:
        """Return its host."""
        declared = self.declared
        try:
            return host_of(declared.kind, self.loaded, declared.full_name, self.settings, self.beside)
        except LookupError as error:
            pytest.fail(f"{declared.full_name} has no host: {error}")

    def shared_table(self) -> Table:
        """Return its host for two processes."""
        kind = self.declared.kind
        # Each further iteration multiplies rounding by as much as a network is deep.
        iterations = 1 if kind == "network" else STEPS
        return shared_table(self.table(), self.registry, descent=kind not in ("optimizer", "schedule"), iterations=iterations)

    def case(self, title: str, check: Callable[[Table, Registry], None], over: Table | None = None) -> Case:
        """Return a case that checks the component in its host, with a table laid over that."""
        return f"{self.declared.name}: {title}", lambda: check(merge(self.table(), over or {}), self.registry)

    def alone(self, title: str, check: Callable[[], None]) -> Case:
        """Return a case that checks the component by itself."""
        return f"{self.declared.name}: {title}", check

    def built(self) -> Any:
        """Return the component, built for the host."""
        return built(self.loaded, {"use": self.declared.full_name, **self.settings})


def tested(declared: Declared, loaded: Any, remarks: Remarks, plugin: Plugin, installed: Registry) -> Tested:
    """Return a component of a plugin as what is tested."""
    beside = dict(remarks.beside.get(declared.name, {}))
    plugins = modules_named({"itself": {"use": f"{plugin.name}/"}, **beside}, installed)
    return Tested(declared, loaded, remarks.settings.get(declared.name, {}), beside, plugins)


def modules_named(table: Mapping[str, Any], installed: Registry) -> dict[str, ModuleType]:
    """Return the declaring modules of the plugins whose components a table names, by the plugins' names."""
    sound = {plugin.name: sys.modules.get(plugin.module) for plugin in installed.plugins() if not plugin.problem}
    return {name: module for name, module in sound.items() if name in _named(table) and module is not None}


def _named(table: Mapping[str, Any]) -> set[str]:
    """Return the plugins whose components a table names."""
    uses = {str(table["use"]).partition("/")[0]} if "use" in table else set()
    return uses.union(*(_named(value) for value in table.values() if isinstance(value, Mapping)))
