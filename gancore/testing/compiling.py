"""``torch.compile(fullgraph=True, backend="eager")`` traces what a part computes in a step, and changes no bit of it.

What can't be traced, with torch 2.13, is left out by rule:

- A method that draws from the `torch.Generator` that core hands it: a graph can't hold one.
- A method that takes gradients itself: of a term, one that asks for a view that it names in ``differentiates``, and an attack's
  ``craft``. Their graph begins outside the method.
- What is done once and not in a step, as a sampler's ``select`` and ``weights``.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch._dynamo.exc import TorchDynamoException

from gancore.contract import Sampler
from gancore.engine import Run
from gancore.plan import parameters_of
from gancore.recipe import Registry
from gancore.testing.checks import bitwise_difference
from gancore.testing.hosting import LABEL, Table, build_host

STEPS = 2
DRAWS = "each of its methods draws from a torch.Generator or takes gradients itself, which torch.compile can't trace"


def problem_of_part(table: Table, registry: Registry) -> str | None:
    """Return what is wrong with the part under test when it is compiled, as a sentence, or None.

    Raises:
        NothingToCompileError: Nothing of it can be traced, whatever its author does.
    """
    plain, traced = build_host(table, registry), build_host(table, registry)
    drew: set[str] = set()
    for name in _methods(plain):
        _watch(_part(plain), name, drew)
    for _ in range(STEPS):
        plain.step()
    names = [name for name in _methods(traced) if name not in drew]
    if not names:
        raise NothingToCompileError(DRAWS)
    for name in names:
        _compile(_part(traced), name)
    with _compiler():
        try:
            for _ in range(STEPS):
                traced.step()
        except _Untraceable as error:
            return str(error)
    difference = bitwise_difference(plain, traced)
    return f"compiled, {', '.join(names)} give other values in {', '.join(difference)}" if difference else None


def problem_of_head(table: Table, registry: Registry) -> str | None:
    """Return what is wrong with the head under test when it is compiled, as a sentence, or None."""
    plain, traced = build_host(table, registry), build_host(table, registry)
    batch = plain.fresh()
    features = plain.networks["discriminator"](batch.real).detach()
    _compile(traced.heads[LABEL], "forward")
    with _compiler():
        try:
            outputs = [run.heads[LABEL](features, batch.real_label) for run in (plain, traced)]
        except _Untraceable as error:
            return str(error)
    for run, output in zip((plain, traced), outputs, strict=True):
        output.square().sum().backward(inputs=list(run.heads[LABEL].parameters()))
    pairs = zip(plain.heads[LABEL].named_parameters(), traced.heads[LABEL].parameters(), strict=True)
    difference = [name for (name, a), b in pairs if a.grad is not None and (b.grad is None or not torch.equal(a.grad, b.grad))]
    if not torch.equal(*outputs):
        difference.insert(0, "its output")
    return f"compiled, forward gives other values in {', '.join(difference)}" if difference else None


class NothingToCompileError(Exception):
    """No method of a part can be traced, whatever its author does."""


class _Untraceable(Exception):  # noqa: N818 - it says what a method is
    """A method can't be traced."""


def _part(run: Run) -> Any:
    if LABEL in run.terms:
        return run.terms[LABEL]
    return run.samplers.get(LABEL, run.attack)


def _methods(run: Run) -> list[str]:
    """Return the methods that a step calls and that don't take gradients themselves."""
    if LABEL in run.terms:
        term = run.plan.terms[LABEL]
        return [name for name in term.methods if not set(term.cls.differentiates) & set(parameters_of(getattr(term.cls, name)))]
    if LABEL in run.samplers:
        cls = type(run.samplers[LABEL])
        return [name for name in ("draw", "view") if getattr(cls, name) is not getattr(Sampler, name)]
    return ["perturb", "update"]


def _watch(part: Any, name: str, drew: set[str]) -> None:
    """Wrap a method so that its name is in `drew` once it has drawn from a generator that it was given."""
    method: Callable[..., Any] = getattr(part, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        generators = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Generator)]
        before = [generator.get_state() for generator in generators]
        result = method(*args, **kwargs)
        if any(not torch.equal(generator.get_state(), state) for generator, state in zip(generators, before, strict=True)):
            drew.add(name)
        return result

    setattr(part, name, watched)


def _compile(part: Any, name: str) -> None:
    """Wrap a method so that it runs compiled, or says why it can't."""
    compiled: Callable[..., Any] = torch.compile(getattr(part, name), fullgraph=True, backend="eager")

    def traced(*args: Any, **kwargs: Any) -> Any:
        try:
            return compiled(*args, **kwargs)
        except TorchDynamoException as error:
            raise _Untraceable(
                f"torch.compile(fullgraph=True) can't trace {name}: {_reason(error)}. A method of a step computes with "
                "tensors: torch.where in place of `if tensor`, and no .item(), print, or call of a library that isn't torch."
            ) from error

    setattr(part, name, traced)


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
