"""Gradients of convolutions in another way, for as long as a step runs: a kernel of torch's dispatcher, below autograd.

Autograd calls ``aten::convolution_backward`` for a convolution's gradients and differentiates that by a formula of its own, so
a kernel in its place changes neither networks nor second derivatives. It is registered while a step runs and taken away after
it, and acts only in the thread that runs the step, which is where autograd runs nodes of a CPU.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import library as registration

from gancore_cpu.gradients import Arguments, Gradients, gradients
from gancore_cpu.processor import Way

OPERATOR = "convolution_backward"


class _Here(threading.local):
    """What a thread has asked for."""

    way: Way = "off"


_here = _Here()
_lock = threading.Lock()
_registrations: list[Any] = []
"""The library that holds the kernel, once for every step that runs: it goes with the last of them."""


def can_override() -> bool:
    """Return whether this torch has what a kernel needs to stand in another's place and call it."""
    return hasattr(registration, "get_kernel") and hasattr(registration.Library, "_destroy")


@contextlib.contextmanager
def overridden(way: Way) -> Iterator[None]:
    """Compute gradients of convolutions `way`, in this thread, until the block ends.

    Args:
        way: How; ``off`` changes nothing.
    """
    if way == "off":
        yield
        return
    before = _here.way
    _register()
    _here.way = way
    try:
        yield
    finally:
        _here.way = before
        _unregister()


def _register() -> None:
    with _lock:
        _registrations.append(_registrations[-1] if _registrations else _library(_kernel()))


def _unregister() -> None:
    with _lock:
        library = _registrations.pop()
        if not _registrations:
            library._destroy()


def _kernel() -> Callable[..., Gradients]:
    """Return the kernel; it holds the one that it stands in the place of."""
    original = registration.get_kernel(torch.ops.aten.convolution_backward.default, "CPU")

    def kernel(keys: Any, *arguments: Any) -> Gradients:
        def library(of: Arguments) -> Gradients:
            theirs: Gradients = original.call_boxed(keys, *of)
            return theirs

        return gradients(Arguments(*arguments), _here.way, library)

    return kernel


def _library(kernel: Callable[..., Gradients]) -> Any:
    library = registration.Library("aten", "IMPL")
    library.impl(OPERATOR, kernel, "CPU", with_keyset=True)
    return library
