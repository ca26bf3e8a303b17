"""``torch.compile`` in a plugin's tests: three lines check that it traces what components compute in a step, changing no bit.

::

    from gancore_profile.testing import compiles

    test_compiles = compiles("r1")

Each loss term, head, sampler and attack of the plugin is a test of its own, in the host of the conformance suite, under
``torch.compile(fullgraph=True, backend="eager")``. What can't be traced, with torch 2.13, is left out by rule:

- A method that draws from the `torch.Generator` that core hands it: a graph can't hold one.
- A method that takes gradients itself: of a term, one that asks for a view that it names in ``differentiates``, and an attack's
  ``craft``. Their graph begins outside the method.
- What is done once and not in a step, as a sampler's ``select`` and ``weights``.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from gancore import Sampler
from gancore.testing import bitwise_difference, build_host, host_of, host_registry
from gancore.tools import Declared, Plugin, Registry, Run, attacked_method, merge, registry

STEPS = 2

GROUPS = {"loss": "losses", "head": "heads", "sampler": "samplers", "attack": "attacks"}
"""Kinds of components with something that can be traced -> the table in which they stand."""


def compiles(plugin: str, settings: Mapping[str, Mapping[str, Any]] | None = None) -> Callable[[Callable[[], None]], None]:
    """Return a parametrized test that ``torch.compile`` traces the components of an installed plugin, changing no bit.

    Args:
        plugin: The plugin's entry-point name.
        settings: For components that have required settings: their values, by bare name.
    """
    cases = list(_cases(plugin, settings or {}))

    @pytest.mark.parametrize("check", [pytest.param(check, id=name) for name, check in cases])
    def test(check: Callable[[], None]) -> None:
        check()

    return test


def _cases(name: str, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Callable[[], None]]]:
    plugin = {plugin.name: plugin for plugin in registry().plugins()}.get(name)
    if plugin is None or plugin.problem:
        reason = f"no installed distribution has an entry point {name!r} in the group 'gancore'"
        yield "is sound", partial(pytest.fail, (plugin and plugin.problem) or reason)
        return
    for kind in GROUPS:
        for declared in plugin.components.get(kind, ()):
            if _has_steps(kind, registry().load(declared)):
                yield declared.name, partial(_check, plugin, declared, settings.get(declared.name, {}))


def _has_steps(kind: str, cls: Any) -> bool:
    """Return whether a component does anything in a step that torch could trace."""
    if kind == "attack":
        return bool(cls.gradient == "shared")
    return kind != "sampler" or bool(_overridden(cls))


def _check(plugin: Plugin, declared: Declared, settings: Mapping[str, Any]) -> None:
    components = host_registry({plugin.name: sys.modules[plugin.module]})
    problem = problem_of(declared.kind, components.load(declared), declared.full_name, settings, components)
    assert problem is None, problem


def problem_of(kind: str, cls: type[Any], use: str, settings: Mapping[str, Any], components: Registry) -> str | None:
    """Return what is wrong with a component when it is compiled, as a sentence, or None.

    Where nothing of it can be traced, whatever its author does, the test is skipped.

    Args:
        kind: Its kind.
        cls: Its class.
        use: Its full name.
        settings: Its settings.
        components: The registry that holds it and the host.
    """
    table = host_of(kind, cls, use, settings)
    sides = [side for side in ("real", "fake") if callable(getattr(cls, attacked_method(side), None))]
    if kind == "loss" and sides:
        table = merge(table, {"attacks": {"ascent": {"use": "host/ascent", "sides": sides}}})
    label = next(label for label, own in table[GROUPS[kind]].items() if own and own["use"] == use)
    plain, traced = build_host(table, components), build_host(table, components)
    try:
        with _compiler():
            return _problem_of_head(label, plain, traced) if kind == "head" else _problem_of_step(kind, label, plain, traced)
    except _Untraceable as error:
        return str(error)


def _problem_of_step(kind: str, label: str, plain: Run, traced: Run) -> str | None:
    component, compiled = (_component(kind, label, run) for run in (plain, traced))
    methods = _methods(kind, label, plain)
    drew: set[str] = set()
    for name in methods:
        _watch(component, name, drew)
    for _ in range(STEPS):
        plain.step()
    names = [name for name in methods if name not in drew]
    if not names:
        pytest.skip("each of its methods draws from a torch.Generator or takes gradients itself, which can't be traced")
    for name in names:
        _compile(compiled, name)
    for _ in range(STEPS):
        traced.step()
    difference = bitwise_difference(plain, traced)
    return f"compiled, {', '.join(names)} give other values in {', '.join(difference)}" if difference else None


def _problem_of_head(label: str, plain: Run, traced: Run) -> str | None:
    batch = plain.fresh()
    features = plain.networks["discriminator"](batch.real).detach()
    _compile(traced.heads[label], "forward")
    outputs = [run.heads[label](features, batch.real_label) for run in (plain, traced)]
    for run, output in zip((plain, traced), outputs, strict=True):
        output.square().sum().backward(inputs=list(run.heads[label].parameters()))
    pairs = zip(plain.heads[label].named_parameters(), traced.heads[label].parameters(), strict=True)
    difference = [name for (name, a), b in pairs if a.grad is not None and (b.grad is None or not torch.equal(a.grad, b.grad))]
    if not torch.equal(*outputs):
        difference.insert(0, "its output")
    return f"compiled, forward gives other values in {', '.join(difference)}" if difference else None


class _Untraceable(Exception):  # noqa: N818 - it says what a method is
    """A method can't be traced."""


def _component(kind: str, label: str, run: Run) -> Any:
    return {"loss": run.terms.get(label), "sampler": run.samplers.get(label), "attack": run.attack}[kind]


def _methods(kind: str, label: str, run: Run) -> list[str]:
    """Return the methods that a step calls and that don't take gradients themselves."""
    if kind == "loss":
        term = run.plan.terms[label]
        return [
            name
            for name, needs in term.methods.items()
            if name != "differentiates" and not {need.name for need in needs} & set(term.cls.differentiates)
        ]
    return _overridden(type(run.samplers[label])) if kind == "sampler" else ["perturb", "update"]


def _overridden(cls: type[Any]) -> list[str]:
    return [name for name in ("draw", "view") if getattr(cls, name, None) is not getattr(Sampler, name)]


def _watch(component: Any, name: str, drew: set[str]) -> None:
    """Wrap a method so that its name is in `drew` once it has drawn from a random stream that it was handed."""
    method: Callable[..., Any] = getattr(component, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        streams = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Generator)]
        before = [noise.get_state() for noise in streams]
        result = method(*args, **kwargs)
        if any(not torch.equal(noise.get_state(), state) for noise, state in zip(streams, before, strict=True)):
            drew.add(name)
        return result

    setattr(component, name, watched)


def _compile(component: Any, name: str) -> None:
    """Wrap a method so that it runs compiled, or says why it can't."""
    compiled: Callable[..., Any] = torch.compile(getattr(component, name), fullgraph=True, backend="eager")

    def traced(*args: Any, **kwargs: Any) -> Any:
        try:
            return compiled(*args, **kwargs)
        except TorchDynamoException as error:
            raise _Untraceable(
                f"torch.compile(fullgraph=True) can't trace {name}: {_reason(error)}. A method of a step computes with "
                "tensors: torch.where in place of `if tensor`, and no .item(), print, or call of a library that isn't torch."
            ) from error

    setattr(component, name, traced)


def _reason(error: Exception) -> str:
    """Return what the compiler says, in a line: its summary, and the author's line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    code = [line for line in lines if line.startswith("File ")]
    return " ".join([lines[0] if lines else type(error).__name__, *(f"({line})" for line in code[-1:])])


@contextlib.contextmanager
def _compiler() -> Iterator[None]:
    """Leave no trace in the compiler, which counts how often a line of code has been compiled, for all instances together."""
    torch._dynamo.reset()
    try:
        with warnings.catch_warnings():
            # The compiler looks at every tensor that it is handed, and so at what makes torch itself warn.
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf", UserWarning)
            yield
    finally:
        torch._dynamo.reset()
