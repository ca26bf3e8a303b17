"""The cases of the conformance suite."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from gancore import GancoreError
from gancore.tools import CONTEXT, KINDS, Declared, Plugin, Registry, make_plan, merge, read, registry, settings_of
from gancore_testing import checks, host
from gancore_testing.hosting import HOSTED, Table, host_of, host_registry, is_supervised
from gancore_testing.processes import shared_table, two_processes

Case = tuple[str, Callable[[], None]]


@attrs.frozen
class Tested:
    """A component under test that there is a host for.

    Attributes:
        declared: The component.
        settings: Those that it needs.
        registry: What its host is read with: the host and its plugin alone.
    """

    declared: Declared
    settings: Mapping[str, Any]
    registry: Registry

    def table(self) -> Table:
        """Return its host; where it can have none, skip the test."""
        try:
            return host_of(self.declared.kind, registry().load(self.declared), self.declared.full_name, self.settings)
        except LookupError as error:
            pytest.skip(str(error))

    def shared_table(self) -> Table:
        """Return its host for two processes."""
        return shared_table(self.table(), self.registry)

    def case(self, title: str, check: Callable[[Table, Registry], None], over: Table | None = None) -> Case:
        """Return a case that checks the component in its host, with a table laid over that."""
        return f"{self.declared.name}: {title}", lambda: check(merge(self.table(), over or {}), self.registry)


def conformance(
    plugin: str,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    apart: Mapping[str, str] | None = None,
) -> Callable[[Callable[[], None]], None]:
    """Return a parametrized test of everything that core asks of an installed plugin.

    Args:
        plugin: The plugin's entry-point name.
        settings: For components that have required settings: their values, by bare name.
        apart: For components with which two processes can't compute what one does: why, by bare name. The case is then skipped
            with this reason, and fails once they do compute the same.
    """
    cases = list(cases_of(plugin, settings or {}, apart or {}))

    @pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in cases])
    def test(check: Callable[[], None]) -> None:
        check()

    return test


def cases_of(name: str, settings: Mapping[str, Mapping[str, Any]], apart: Mapping[str, str]) -> Iterator[Case]:
    """Yield the cases of a plugin, with their titles."""
    plugin = {plugin.name: plugin for plugin in registry().plugins()}.get(name)
    if plugin is None:
        reason = f"no installed distribution has an entry point {name!r} in the group 'gancore'"
        yield "is installed", partial(pytest.fail, reason)
        return
    if plugin.problem:
        yield "is sound", partial(pytest.fail, plugin.problem)
        return
    yield "declares without torch", partial(_declares_without_torch, plugin.module)
    for kind in KINDS:
        for declared in plugin.components.get(kind, ()):
            yield f"{declared.name}: resolves", partial(_resolves, declared)
            if kind == "image-format":
                yield f"{declared.name}: writes images", partial(_writes_images, declared)
            elif kind not in ("accelerator", "command"):
                yield f"{declared.name}: settings are documented", partial(_documented, declared)
    tested = list(_tested(plugin, settings))
    for each in tested:
        yield from _cases_of_component(each)
    yield from _process_cases(tested, plugin, apart)
    for recipe in sorted(recipe for recipe in registry().recipes() if recipe.startswith(f"{name}/")):
        yield f"{recipe}: has a plan", partial(_has_plan, recipe)


def _tested(plugin: Plugin, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[Tested]:
    found = host_registry({plugin.name: sys.modules[plugin.module]})
    for kind in HOSTED:
        for declared in plugin.components.get(kind, ()):
            loaded = _loaded(declared)
            # Of one that can't be loaded, the case "resolves" says so; an attack on logits takes no part in a training.
            if loaded is not None and getattr(loaded, "gradient", None) != "logits":
                yield Tested(declared, settings.get(declared.name, {}), found)


def _cases_of_component(tested: Tested) -> Iterator[Case]:
    yield tested.case("trains", checks.trains)
    yield tested.case("resumes bit-exactly", checks.resumes)
    if tested.declared.kind != "loss":
        return
    for size in (1, 7):
        for precision in ("float32", "bfloat16"):
            run = {"batch_size": size, "precision": precision}
            yield tested.case(f"finite at batch {size} in {precision}", checks.trains, {"run": run})
    yield tested.case("gradients stay with the player", checks.own_gradients)
    yield tested.case("never waits for the device", checks.no_synchronization)
    yield tested.case("weight 0 is the same as absent", checks.weight_zero)
    if not is_supervised(_loaded(tested.declared)):
        for objective in ("hinge", "non-saturating", "relativistic-average"):
            losses = {"adversarial": {"use": f"host/{objective}-game"}}
            yield tested.case(f"trains beside {objective}", checks.trains, {"losses": losses})


def _process_cases(tested: Sequence[Tested], plugin: Plugin, apart: Mapping[str, str]) -> Iterator[Case]:
    tables = {f"{each.declared.kind} {each.declared.name}": each.shared_table for each in tested}
    problem_of = two_processes(plugin.name, sys.modules[plugin.module], tables)
    for case in tables:
        name = case.split()[1]
        yield f"{name}: two processes compute what one does", partial(_two_processes, problem_of, case, apart.get(name))
    for name in sorted(set(apart) - {each.declared.name for each in tested}):
        reason = f"apart names {name!r}, which is nothing of {plugin.name} that is trained"
        yield f"{name}: is apart", partial(pytest.fail, reason)


def _two_processes(problem_of: Callable[[str], str | None], case: str, apart: str | None) -> None:
    if apart is not None and not apart.strip():
        pytest.fail(f"apart gives no reason why the {case} computes something else in two processes")
    problem = problem_of(case)
    if apart is None:
        assert problem is None, problem
        return
    assert problem is not None, f"two processes compute what one does, so apart need not name the {case}"
    pytest.skip(apart)


def _declares_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"importing {module} imports torch, or fails: {done.stderr}"


def _resolves(declared: Declared) -> None:
    registry().load(declared)


def _documented(declared: Declared) -> None:
    loaded = registry().load(declared)
    text = "\n".join(cls.__doc__ or "" for cls in getattr(loaded, "__mro__", (loaded,)))
    missing = [name for name in settings_of(loaded) if name not in CONTEXT and f"{name}:" not in text]
    assert not missing, f"{declared.target} does not document its settings {missing} under Args:"


def _writes_images(declared: Declared) -> None:
    write = registry().load(declared)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "deep" / f"{number}.{declared.name}" for number in (1, 3)]
        for number, path in zip((1, 3), paths, strict=True):
            write(torch.zeros(2 * number, number, 8, 8), path, columns=2)
        assert sorted(paths[0].parent.iterdir()) == paths, f"{declared.target} leaves other files than it is to write"


def _has_plan(recipe: str) -> None:
    try:
        checked = read(recipe, registry())
    except GancoreError as error:
        # A fragment is no whole recipe; it is tried over one that the host provides.
        if "has no `use`" not in str(error):
            raise
        return
    data = checked.entries["data", "data"].settings
    if "path" not in data or Path(data["path"]).exists():
        make_plan(checked, registry())
        return
    # The reader's own images are not here; noise of their size stands in for them.
    found = Registry.discover([*entry_points(group="gancore"), EntryPoint("host", host.__name__, "gancore")])
    noise = {"use": "host/noise", "channels": data.get("channels", 3), "image_size": data.get("image_size", 64)}
    make_plan(read(recipe, found, overrides={"data": noise}), found)


def _loaded(declared: Declared) -> Any:
    try:
        return registry().load(declared)
    except GancoreError:
        # The case "resolves" reports it.
        return None
