"""The cases of the conformance suite."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from gancore import GancoreError
from gancore.tools import KINDS, Declared, Plugin, Registry, make_plan, read, registry
from gancore_testing import alone, checks, host, networks, scores
from gancore_testing.hosting import HOSTED, is_supervised, role_of
from gancore_testing.processes import two_processes
from gancore_testing.recipes import Small, missing, recipes_of
from gancore_testing.tested import Case, Remarks, Tested, tested

IN_PROCESSES = tuple(kind for kind in HOSTED if kind != "dataset")
"""Kinds that two processes train with: a data set is read by each of them alike."""

ELSEWHERE = "computes where the run does"

Table = Mapping[str, Any]


def conformance(
    plugin: str,
    settings: Mapping[str, Table] | None = None,
    apart: Mapping[str, str] | None = None,
    *,
    beside: Mapping[str, Table] | None = None,
    elsewhere: Mapping[str, str] | None = None,
    recipes: Mapping[str, Table] | None = None,
) -> Callable[[Callable[[], None]], None]:
    """Return a parametrized test of everything that core asks of an installed plugin.

    Args:
        plugin: The plugin's entry-point name.
        settings: For components that have required settings: their values, by bare name.
        apart: For components with which two processes can't compute what one does: why, by bare name. The case is then skipped
            with this reason, and fails once they do compute the same.
        beside: For components that need more of a recipe than the host has: further tables of it, by bare name, e.g.
            ``{"rotation": {"heads": {"rotation": {"use": "mine/rotation-head"}}}}``.
        elsewhere: For components that can't be tried where tests run, e.g. because their weights are downloaded: why, by bare
            name. Their cases are skipped with this reason.
        recipes: Recipes that are trained here, small, resumed, and trained by two processes: what is laid over each, by bare
            name, e.g. ``{"digits": {}}``. They have batches of 8, and neither metrics nor the networks that are trained first.
    """
    cases = list(cases_of(plugin, Remarks(settings or {}, beside or {}, apart or {}, elsewhere or {}, recipes or {})))

    @pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in cases])
    def test(check: Callable[[], None]) -> None:
        check()

    return test


def cases_of(name: str, remarks: Remarks | None = None) -> Iterator[Case]:
    """Yield the cases of a plugin, with their titles."""
    remarks, installed = remarks or Remarks(), registry()
    plugin = {plugin.name: plugin for plugin in installed.plugins()}.get(name)
    if plugin is None:
        reason = f"no installed distribution has an entry point {name!r} in the group 'gancore'"
        yield "is installed", partial(pytest.fail, reason)
        return
    if plugin.problem:
        yield "is sound", partial(pytest.fail, plugin.problem)
        return
    yield "declares without torch", partial(_declares_without_torch, plugin.module)
    yield from _misnamed(plugin, remarks)
    components = []
    for declared in (declared for kind in KINDS for declared in plugin.components.get(kind, ())):
        yield f"{declared.name}: resolves", partial(_resolves, declared)
        loaded = _loaded(declared)
        if loaded is None:  # the case says why
            continue
        if KINDS[declared.kind].base or declared.kind in ("optimizer", "schedule"):
            yield f"{declared.name}: settings are documented", partial(alone.documented, loaded, declared.target)
        if declared.name in remarks.elsewhere:
            yield f"{declared.name}: is tried elsewhere", partial(_skip, remarks.elsewhere[declared.name])
        else:
            components.append(tested(declared, loaded, remarks, plugin, installed))
    for component in components:
        yield from _cases_of(component)
    tried = list(recipes_of(name, remarks.recipes, installed))
    for small in tried:
        yield from small.cases()
    yield from missing(name, remarks.recipes, installed)
    yield from _process_cases([component for component in components if _has_steps(component)], tried, remarks.apart)
    if plugin.hooks.keys() & set(alone.OBSERVING):
        yield "observes a training", partial(alone.observes, plugin.hooks)
    for recipe in sorted(recipe for recipe in installed.recipes() if recipe.startswith(f"{name}/")):
        yield f"{recipe}: has a plan", partial(_has_plan, recipe)


def _has_steps(component: Tested) -> bool:
    """Return whether a component takes part in what processes compute together."""
    return component.declared.kind in IN_PROCESSES and getattr(component.loaded, "gradient", None) != "logits"


# -- one component -----------------------------------------------------------------------------------------------------


def _cases_of(component: Tested) -> Iterator[Case]:
    """Yield the cases of a component in its host, and by itself."""
    kind, loaded = component.declared.kind, component.loaded
    if _has_steps(component) and kind != "metric":
        for size in (1, 7):
            for precision in ("float32", "bfloat16"):
                run = {"batch_size": size, "precision": precision}
                yield component.case(f"trains at batch {size} in {precision}", checks.trains, {"run": run})
        yield component.case("resumes bit-exactly", checks.resumes)
        yield component.case("keeps its state where a checkpoint finds it", checks.keeps_its_state)
    if _has_steps(component):
        yield component.case(ELSEWHERE, checks.on_another_device)
    for title, check in BY_KIND.get(kind, {}).items():
        yield component.case(title, check)
    if kind == "loss":
        yield from _cases_of_loss(component)
    elif kind == "network":
        yield from _cases_of_network(component)
    elif kind == "head" and not loaded.batch_statistics:
        yield component.case("its rows do not depend on each other", networks.rows_of_head)
    elif kind == "attack" and loaded.gradient != "shared":
        yield component.alone("fools a classifier", lambda: alone.fools(component.built()))
        yield component.alone(f"{ELSEWHERE}, alone", lambda: alone.on_another_device(alone.fools, component.built()))
    elif kind == "defense":
        yield component.alone("defends a classifier", lambda: alone.defends(component.built()))
        yield component.alone(ELSEWHERE, lambda: alone.on_another_device(alone.defends, component.built()))
    elif kind == "accelerator":
        yield component.alone("computes what is computed without it", lambda: alone.accelerates(loaded))
    elif kind == "image-format":
        yield component.alone("writes images", lambda: alone.writes_images(loaded, component.declared.name))
    elif kind == "executor":
        yield component.alone("takes a command line", lambda: alone.takes_a_command(loaded))
    elif kind == "command":
        yield component.alone("shows its help", lambda: alone.shows_help(loaded))


BY_KIND = {
    "loss": {
        "gradients stay with the player": checks.own_gradients,
        "never waits for the device": checks.no_synchronization,
        "weight 0 is the same as absent": checks.weight_zero,
    },
    "head": {"gives a row for each image": networks.head_gives},
    "sampler": {"chooses what there is": alone.selects},
    "latent": {"draws from its noise alone": alone.draws},
    "dataset": {"gives what its info says": alone.loads, "trains": alone.trains_on},
    "metric": {
        "scores a run and leaves it as it was": scores.scored,
        "its scores do not depend on the batches": scores.any_batches,
        "keeps its real statistics in a file": scores.keeps_real_state,
    },
    "schedule": {"is a function of the iteration": alone.is_pure},
}
"""What is asked of every component of a kind, beside its training."""


def _cases_of_loss(component: Tested) -> Iterator[Case]:
    if not is_supervised(component.loaded):
        for objective in ("hinge", "non-saturating", "relativistic-average"):
            losses = {"adversarial": {"use": f"host/{objective}-game"}}
            yield component.case(f"trains beside {objective}", checks.trains, {"losses": losses})


def _cases_of_network(component: Tested) -> Iterator[Case]:
    role = role_of(component.loaded)
    if role is None:  # what it gives is its plugin's affair
        return
    rows = "its rows do not depend on each other"
    yield component.case("gives what its base class says", partial(networks.shapes, role))
    yield component.case(f"in evaluation {rows}", partial(networks.rows_in_evaluation, role))
    if role == "discriminator" and not component.loaded.batch_statistics:
        yield component.case(f"in training {rows}", partial(networks.rows_in_training, role))


# -- several -----------------------------------------------------------------------------------------------------------


def _process_cases(components: Sequence[Tested], tried: Sequence[Small], apart: Mapping[str, str]) -> Iterator[Case]:
    tables = {f"{each.declared.kind} {each.declared.name}": each.shared_table for each in components}
    tables |= {f"recipe {small.name}": small.shared_table for small in tried}
    modules = {name: module for each in components for name, module in each.plugins.items()}
    modules |= {name: module for small in tried for name, module in small.modules().items()}
    problem_of = two_processes(modules, tables)
    for case in tables:
        name = case.split()[1]
        yield f"{name}: two processes compute what one does", partial(_two_processes, problem_of, case, apart.get(name))
    known = {each.declared.name for each in components} | {small.name for small in tried}
    for name in sorted(set(apart) - known):
        yield f"{name}: is apart", partial(pytest.fail, f"apart names {name!r}, which is nothing of the plugin that is trained")


def _misnamed(plugin: Plugin, remarks: Remarks) -> Iterator[Case]:
    """Yield a case that fails for each name among the remarks that no component has."""
    names = {declared.name for components in plugin.components.values() for declared in components}
    for what in ("settings", "beside", "elsewhere"):
        for name in sorted(set(getattr(remarks, what)) - names):
            reason = f"{what} names {name!r}, which {plugin.name} does not declare"
            yield f"{name}: is of the plugin", partial(pytest.fail, reason)


def _skip(reason: str) -> None:
    if not reason.strip():
        pytest.fail("elsewhere gives no reason why it can't be tried here")
    pytest.skip(reason)


def _two_processes(problem_of: Callable[[str], str | None], case: str, apart: str | None) -> None:
    if apart is not None and not apart.strip():
        pytest.fail(f"apart gives no reason why the {case} computes something else in two processes")
    problem = problem_of(case)
    if apart is None:
        assert problem is None, problem
        return
    assert problem is not None, f"two processes compute what one does, so apart need not name the {case}"
    pytest.skip(apart)


# -- the plugin --------------------------------------------------------------------------------------------------------


def _declares_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"importing {module} imports torch, or fails: {done.stderr}"


def _resolves(declared: Declared) -> None:
    registry().load(declared)


def _loaded(declared: Declared) -> Any:
    try:
        return registry().load(declared)
    except GancoreError:
        # The case "resolves" reports it.
        return None


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
