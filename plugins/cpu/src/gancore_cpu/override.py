"""Gradients of convolutions in another way, for as long as a step runs: kernels of torch's dispatcher, below autograd.

Autograd calls ``aten::convolution_backward`` for a convolution's gradients and differentiates that by
``aten::_convolution_double_backward``, so kernels in their place change no network, and whatever is differentiated once more
goes by torch's own formula. They are registered while a step runs and taken away after it, and act only in the thread that
runs the step, which is where autograd runs nodes of a CPU.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import library as registration

from gancore_cpu.gradients import Arguments, Gradients, gradients
from gancore_cpu.processor import Way
from gancore_cpu.second_order import SecondOrder, second_order


class _Here(threading.local):
    """What a thread has asked for."""

    way: Way = "off"


_here = _Here()
_lock = threading.Lock()
_registrations: list[Any] = []
"""The library that holds the kernels, once for every step that runs: they go with the last of them."""


def can_override() -> bool:
    """Return whether this torch has what a kernel needs to stand in another's place and call it."""
    try:
        _kernels()
    except (AttributeError, RuntimeError):
        return False
    return hasattr(registration.Library, "_destroy")


def _kernels() -> tuple[Any, Any]:
    """Return torch's own kernels, of gradients and of their gradients."""
    of_gradients = registration.get_kernel(torch.ops.aten.convolution_backward.default, "CPU")
    return of_gradients, registration.get_kernel(torch.ops.aten._convolution_double_backward.default, "AutogradCPU")


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
        _registrations.append(_registrations[-1] if _registrations else _library())


def _unregister() -> None:
    with _lock:
        library = _registrations.pop()
        if not _registrations:
            library._destroy()


def _library() -> Any:
    """Return the registration of the kernels; each holds the one that it stands in the place of."""
    of_gradients, of_second_order = _kernels()

    def backward(keys: Any, *arguments: Any) -> Gradients:
        return gradients(Arguments(*arguments), _here.way, lambda of: of_gradients.call_boxed(keys, *of))

    def double_backward(keys: Any, *arguments: Any) -> Gradients:
        return second_order(SecondOrder(*arguments), _here.way, lambda of: of_second_order.call_boxed(keys, *of))

    library = registration.Library("aten", "IMPL")
    library.impl("convolution_backward", backward, "CPU", with_keyset=True)
    library.impl("_convolution_double_backward", double_backward, "AutogradCPU", with_keyset=True)
    return library
