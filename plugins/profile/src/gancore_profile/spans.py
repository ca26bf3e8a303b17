"""Spans of an iteration, to tell where its time goes: the methods of a run's components, watched from outside.

Core's step knows nothing of this. Inside ``with listening(run, listener):`` the networks and heads of a run stand behind a thin
cover, and the methods that the step calls on other components are replaced on the very objects; both go afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import torch

from gancore.tools import Run, attacked_method
from gancore_profile.costs import IMAGES, WAIT


class Name(NamedTuple):
    """What a span is.

    Attributes:
        group: The recipe's group of components (``networks``, ``losses``), ``phase`` for a turn, or what it is: ``backward``.
        label: The component's recipe label, or the player whose turn it is.
        work: What it does: ``forward``, ``draw``.
    """

    group: str
    label: str = ""
    work: str = ""

    @property
    def place(self) -> str:
        """The component as a recipe names it, e.g. ``losses.balance``."""
        return f"{self.group}.{self.label}" if self.label else self.group


WAITING = Name(IMAGES, work=WAIT)
"""The wait for images that are read by index, of which nothing is left where those that read ahead are fast enough."""

Path = tuple[Name, ...]
"""The spans that are open, outermost first; empty outside any."""


class Listener(Protocol):
    """What hears of spans."""

    def enter(self, name: Name) -> None:
        """Hear that a span begins."""

    def leave(self) -> None:
        """Hear that the innermost span ends."""


@contextlib.contextmanager
def listening(run: Run, listener: Listener) -> Iterator[None]:
    """Tell a listener of every span of a run's iterations inside the ``with``."""
    with contextlib.ExitStack() as stack:
        for group, modules in (("networks", run.networks), ("heads", run.heads)):
            stack.enter_context(_covered(modules, group, listener))
        for owner, method, name in _methods(run):
            stack.enter_context(_replaced(owner, method, _spanned(getattr(owner, method), name, listener)))
        stack.enter_context(_replaced(run, "phase", _phases(run.phase, listener)))
        yield


def _methods(run: Run) -> Iterator[tuple[Any, str, Name]]:
    """Yield the methods that an iteration calls: whose, which, and what the span is called."""
    streams = [(run.batches.stream, Name("data")), *((stream, Name("sources")) for stream in run.batches.sources.values())]
    for stream, name in streams:
        yield stream, "batch", name
        if stream.reader is not None:
            yield stream, "reader", WAITING
    yield run, "latent", Name("latents")
    yield torch.Tensor, "backward", Name("backward")
    for label, sampler in run.samplers.items():
        for work in ("draw", "view"):
            if hasattr(sampler, work):
                yield sampler, work, Name("samplers", label, work)
    for label, term in run.terms.items():
        planned = run.plan.terms[label]
        views = set(planned.cls.extra_views.values())
        raised = {attacked_method(side) for side in ("real", *run.plan.sides)}
        works = {method: "view" if method in views else "loss" for method in planned.methods if method not in raised}
        works |= dict.fromkeys(raised & planned.methods.keys(), "loss")
        for method, work in {**works, "observe": "observe", "project": "project"}.items():
            if callable(getattr(term, method, None)):
                yield term, method, Name("losses", label, work)
    if run.attack is not None and run.plan.attack is not None:
        for work in ("perturb", "update") if run.attack.gradient == "shared" else ("craft",):
            yield run.attack, work, Name("attacks", run.plan.attack.label, work)
    for label, player in run.players.items():
        yield player, "step", Name("optimizers", label, "step")
    if run.average is not None:
        yield run.average, "update", Name("ema")


def _spanned(plain: Callable[..., Any], name: Name, listener: Listener) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        listener.enter(name)
        try:
            return plain(*args, **kwargs)
        finally:
            listener.leave()

    return call


def _phases(plain: Callable[..., Any], listener: Listener) -> Callable[..., Any]:
    def call(player: str, *batch: Any) -> Any:
        return _spanned(plain, Name("phase", player), listener)(player, *batch)

    return call


@contextlib.contextmanager
def _replaced(owner: Any, method: str, other: Callable[..., Any]) -> Iterator[None]:
    """Replace a method on an object, or a class, and put back what was there."""
    before = vars(owner).get(method)
    setattr(owner, method, other)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, method)
        else:
            setattr(owner, method, before)


class _Cover:
    """Stands for a module whose forwards are spans; in all else it is the module."""

    def __init__(self, module: Any, name: Name, listener: Listener) -> None:
        self.module = module
        self.name = name
        self.listener = listener

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self.module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _spanned(self.module, self.name, self.listener)(*args, **kwargs)

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self.module, attribute)
        return _spanned(value, self.name, self.listener) if attribute in ("embed", "classify") else value


@contextlib.contextmanager
def _covered(modules: Mapping[str, Any], group: str, listener: Listener) -> Iterator[None]:
    plain, table = dict(modules), modules
    assert isinstance(table, dict)
    table.update({label: _Cover(module, Name(group, label, "forward"), listener) for label, module in plain.items()})
    try:
        yield
    finally:
        table.update(plain)
