"""The conformance suite for plugin authors: three lines in a plugin's tests run everything that core asks of it.

::

    from gancore.testing import conformance

    test_conformance = conformance("r1")

Each check is a test of its own. For every loss term: finite loss and gradients at batch 1 and 7, in float32 and bfloat16;
gradients reach the player whose turn it is and nobody else; no host synchronization; weight 0 is the same as absent, bit for
bit; and resume is bit-exact. Samplers and attacks train, and resume bit-exactly. With each of the three, two gloo processes
compute what one does. What they and heads compute in a step, ``torch.compile(fullgraph=True, backend="eager")`` traces without
changing a bit (`gancore.testing.compiling` says what can't be traced). Every recipe has a plan.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import gancore_standard
import pytest
import torch
from PIL import Image

from gancore.contract import CONTEXT, KINDS, Sampler, settings_of
from gancore.errors import GancoreError
from gancore.plan import attacked_method, make_plan
from gancore.recipe import Declared, Plugin, Registry, read, registry
from gancore.testing import host
from gancore.testing.compiling import NothingToCompileError, problem_of_head, problem_of_part
from gancore.testing.processes import TwoProcesses, shared_table
from gancore.testing.stepping import (
    HostTable,
    NoSynchronization,
    bitwise_difference,
    build_host,
    finite,
    gradients_elsewhere,
)

__all__ = ["conformance"]

Case = tuple[str, Callable[[], None]]


def conformance(
    plugin: str,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    apart: Mapping[str, str] | None = None,
) -> Callable[[Callable[[], None]], None]:
    """Return a parametrized test of everything that core asks of an installed plugin.

    Args:
        plugin: The plugin's entry-point name.
        settings: For components that have required settings: their values, by bare name.
        apart: For loss terms, samplers and attacks with which two processes can't compute what one does: why, by bare name.
            The case is then skipped with this reason, and fails once they do compute the same.
    """
    cases = list(_cases(plugin, settings or {}, apart or {}))

    @pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in cases])
    def test(check: Callable[[], None]) -> None:
        check()

    return test


def _cases(name: str, settings: Mapping[str, Mapping[str, Any]], apart: Mapping[str, str]) -> Iterator[Case]:
    found = {plugin.name: plugin for plugin in registry().plugins()}
    if name not in found:
        yield "is installed", partial(_fail, f"no installed distribution has an entry point {name!r} in the group 'gancore'")
        return
    plugin = found[name]
    if plugin.problem:
        yield "is sound", partial(_fail, plugin.problem)
        return
    module = sys.modules[plugin.module]
    yield "declares without torch", partial(_declares_without_torch, plugin.module)
    for kind in KINDS:
        for declared in plugin.components.get(kind, ()):
            yield f"{declared.name}: resolves", partial(_resolves, declared)
            if kind not in ("accelerator", "command"):
                yield f"{declared.name}: settings are documented", partial(_documented, declared)
    for declared in plugin.components.get("loss", ()):
        yield from _term_cases(declared, name, module, settings.get(declared.name, {}))
    trained = [*_trained(plugin)]
    for kind, declared in trained:
        if kind != "loss":
            given = settings.get(declared.name, {})
            yield f"{declared.name}: resumes bit-exactly", partial(_part_resumes, declared, kind, given, name, module)
    yield from _compile_cases(plugin, trained, module, settings)
    yield from _process_cases(trained, name, module, settings, apart)
    for recipe in sorted(recipe for recipe in registry().recipes() if recipe.startswith(f"{name}/")):
        yield f"{recipe}: has a plan", partial(_has_plan, recipe)


def _term_cases(declared: Declared, plugin: str, module: ModuleType, settings: Mapping[str, Any]) -> Iterator[Case]:
    table = HostTable().for_term(registry().load(declared), declared.full_name, **settings)
    for size in (1, 7):
        for precision in ("float32", "bfloat16"):
            setting = table.with_run(batch_size=size, precision=precision)
            yield f"{declared.name}: finite at batch {size} in {precision}", partial(_finite, setting, plugin, module)
    yield f"{declared.name}: gradients stay with the player", partial(_own_gradients, table, plugin, module)
    yield f"{declared.name}: never waits for the device", partial(_no_synchronization, table, plugin, module)
    yield f"{declared.name}: weight 0 is the same as absent", partial(_weight_zero, table, plugin, module)
    yield f"{declared.name}: resumes bit-exactly", partial(_resumes, table, plugin, module)
    for objective in ("standard/hinge", "standard/non-saturating", "standard/relativistic-average"):
        if not table.supervised:
            beside = table.with_part("losses", "adversarial", objective)
            yield f"{declared.name}: trains beside {objective}", partial(_finite, beside, plugin, module)


def _trained(plugin: Plugin) -> Iterator[tuple[str, Declared]]:
    """Yield the parts that can stand around a game in training, with their kind."""
    for kind in ("loss", "sampler", "attack"):
        for declared in plugin.components.get(kind, ()):
            if getattr(_loaded(declared), "gradient", None) != "logits":
                yield kind, declared


def _compile_cases(
    plugin: Plugin, parts: Sequence[tuple[str, Declared]], module: ModuleType, settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[Case]:
    heads = [("head", declared) for declared in plugin.components.get("head", ())]
    for kind, declared in (*parts, *heads):
        loaded = _loaded(declared)
        own = kind == "attack" and getattr(loaded, "gradient", None) == "own"
        chooses = kind == "sampler" and all(getattr(loaded, n, None) is getattr(Sampler, n) for n in ("draw", "view"))
        # Neither has anything in a step that torch could trace.
        if not own and not chooses:
            check = partial(_compiles, declared, kind, settings.get(declared.name, {}), plugin.name, module)
            yield f"{declared.name}: compiles", check


def _process_cases(
    parts: Sequence[tuple[str, Declared]],
    plugin: str,
    module: ModuleType,
    settings: Mapping[str, Mapping[str, Any]],
    apart: Mapping[str, str],
) -> Iterator[Case]:
    tables = {
        f"{kind} {declared.name}": partial(_shared_table, declared, kind, settings.get(declared.name, {}), plugin, module)
        for kind, declared in parts
    }
    pair = TwoProcesses(plugin, module, tables)
    for kind, declared in parts:
        check = partial(_two_processes, pair, f"{kind} {declared.name}", apart.get(declared.name))
        yield f"{declared.name}: two processes compute what one does", check
    for name in sorted(set(apart) - {declared.name for _, declared in parts}):
        yield f"{name}: is apart", partial(_fail, f"apart names {name!r}, which is no trained part of {plugin}")


def _fail(reason: str) -> None:
    pytest.fail(reason)


def _declares_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"importing {module} imports torch, or fails: {done.stderr}"


def _resolves(declared: Declared) -> None:
    registry().load(declared)


def _documented(declared: Declared) -> None:
    loaded = registry().load(declared)
    text = "\n".join(cls.__doc__ or "" for cls in loaded.__mro__)
    missing = [name for name in settings_of(loaded) if name not in CONTEXT and f"{name}:" not in text]
    assert not missing, f"{declared.target} does not document its settings {missing} under Args:"


def _registry(plugin: str, module: ModuleType) -> Registry:
    return Registry.of({"standard": gancore_standard, "host": host, plugin: module})


def _finite(table: HostTable, plugin: str, module: ModuleType) -> None:
    run = build_host(table, _registry(plugin, module))
    for _ in range(2):
        run.step()
    problems = finite(run)
    assert not problems, f"not finite after two iterations: {problems}"


def _own_gradients(table: HostTable, plugin: str, module: ModuleType) -> None:
    problems = gradients_elsewhere(build_host(table, _registry(plugin, module)))
    assert not problems, f"gradients reached {problems}"


def _no_synchronization(table: HostTable, plugin: str, module: ModuleType) -> None:
    run = build_host(table, _registry(plugin, module))
    run.step()
    with NoSynchronization():
        run.step()


def _weight_zero(table: HostTable, plugin: str, module: ModuleType) -> None:
    absent = build_host(table.without_part("losses", "part"), _registry(plugin, module))
    zero = build_host(table.with_part("losses", "part", None, weight=0.0), _registry(plugin, module))
    for run in (absent, zero):
        for _ in range(3):
            run.step()
    assert not bitwise_difference(absent, zero)


def _resumes(table: HostTable, plugin: str, module: ModuleType) -> None:
    found = _registry(plugin, module)
    whole, first, second = (build_host(table, found) for _ in range(3))
    for _ in range(4):
        whole.step()
    for _ in range(2):
        first.step()
    tensors: dict[str, Any] = {name: tensor.detach().clone().contiguous() for name, tensor in first.tensors().items()}
    torch.manual_seed(1)
    second.restore(tensors, first.counters())
    for _ in range(2):
        second.step()
    difference = bitwise_difference(whole, second)
    assert not difference, f"2 iterations, resume, 2 iterations differ from 4 in {difference}: keep the state in buffers"


def _part_resumes(declared: Declared, kind: str, settings: Mapping[str, Any], plugin: str, module: ModuleType) -> None:
    _resumes(_table_of(declared, kind, settings), plugin, module)


def _table_of(declared: Declared, kind: str, settings: Mapping[str, Any]) -> HostTable:
    """Return the host of a part, with it under the label ``part``."""
    loaded = registry().load(declared)
    if kind == "loss":
        return HostTable().for_term(loaded, declared.full_name, **settings)
    if kind == "sampler":
        return HostTable().for_sampler(loaded, declared.full_name, **settings)
    return HostTable().with_part(f"{kind}s", "part", declared.full_name, **settings)


def _compiles(declared: Declared, kind: str, settings: Mapping[str, Any], plugin: str, module: ModuleType) -> None:
    table, found = _table_of(declared, kind, settings), _registry(plugin, module)
    if kind == "loss":
        loaded = registry().load(declared)
        sides = [side for side in ("real", "fake") if callable(getattr(loaded, attacked_method(side), None))]
        table = table.with_part("attacks", "ascent", "host/ascent", sides=sides) if sides else table
    try:
        problem = problem_of_head(table, found) if kind == "head" else problem_of_part(table, found)
    except NothingToCompileError as error:
        pytest.skip(str(error))
    assert problem is None, problem


def _shared_table(declared: Declared, kind: str, settings: Mapping[str, Any], plugin: str, module: ModuleType) -> HostTable:
    return shared_table(_table_of(declared, kind, settings), _registry(plugin, module))


def _two_processes(pair: TwoProcesses, case: str, apart: str | None) -> None:
    if apart is not None and not apart.strip():
        pytest.fail(f"apart gives no reason why the {case} computes something else in two processes")
    problem = pair.check(case)
    if apart is None:
        assert problem is None, problem
        return
    assert problem is not None, f"two processes compute what one does, so apart need not name the {case}"
    pytest.skip(apart)


def _has_plan(recipe: str) -> None:
    try:
        found = read(recipe, registry())
    except GancoreError as error:
        # A fragment is no whole recipe; it is tried over one that the host provides.
        if "has no `use`" not in str(error):
            raise
        return
    if found.parts["data", "data"].declared.full_name != "standard/image-folder":
        make_plan(found, registry())
        return
    # The reader's own images are not here; any two classes stand in for them.
    with tempfile.TemporaryDirectory() as folder:
        for name in ("one", "two"):
            (Path(folder) / name).mkdir()
            Image.new("RGB", (8, 8)).save(Path(folder) / name / "image.png")
        make_plan(read(recipe, registry(), overrides={"data": {"path": folder}}), registry())


def _loaded(declared: Declared) -> Any:
    try:
        return registry().load(declared)
    except GancoreError:
        # The case "resolves" reports it.
        return None
