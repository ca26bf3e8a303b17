"""A GPU for tests where there is none: it computes on the CPU, and refuses what a GPU would refuse.

Inside of `AnotherDevice` each tensor is said to lie on the CPU or on ``cuda:0``, and what torch refuses of two devices is
refused: an operator on tensors of both, a draw from a generator of the other one, a GPU's tensor handed to NumPy. So a loss
term that makes a tensor on the CPU fails here as it would fail there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gancore.tools import derive, drawing_from

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)

_EITHER = torch.device("meta")
"""Of a tensor that an operator of torch makes for itself: it would lie where the operator computes."""

ACROSS = ("aten::copy_", "aten::_copy_from", "aten::set_", "aten::index", "aten::index_put", "aten::_index_put_impl")
"""Operators that take tensors of both devices: what copies, and indices, which may lie on the CPU."""


class _Places:
    """Where each storage is said to lie."""

    def __init__(self) -> None:
        self._said: dict[int, tuple[Any, torch.device]] = {}

    def of(self, tensor: Tensor) -> torch.device:
        """Return where a tensor is said to lie; of what nothing is said, the CPU."""
        return self._said.get(tensor.untyped_storage()._cdata, (None, CPU))[1]

    def say(self, tensor: Tensor, device: torch.device) -> None:
        """Say where a tensor lies."""
        storage = tensor.untyped_storage()
        # The weak reference keeps the address from being another storage's later.
        self._said[storage._cdata] = (StorageWeakRef(storage), device)

    def forget(self) -> None:
        """Forget storages that are gone."""
        self._said = {address: said for address, said in self._said.items() if not said[0].expired()}

    def settle(self, result: Any, device: torch.device) -> None:
        """Say where those of some results lie of which nothing is said, or that could lie on either."""
        for tensor in _tensors(result):
            if self.of(tensor) == _EITHER or (device != CPU and tensor.untyped_storage()._cdata not in self._said):
                self.say(tensor, device)


_PLACES = _Places()
"""Of the whole process: a tensor that a component keeps from one run to the next stays where it is said to lie."""


def _tensors(*values: Any) -> Iterator[Tensor]:
    for leaf in tree_leaves(values):
        if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
            yield leaf


class _Operators(TorchDispatchMode):
    """Refuses operators on tensors of both devices, and says where their results lie."""

    def __init__(self, places: _Places) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places = places

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator."""
        kwargs = kwargs or {}
        device = self._common(func.name(), list(_tensors(args, kwargs)))
        result = func(*args, **kwargs)
        self.places.settle(result, device)
        for tensor in _tensors(result):
            if device == _EITHER and tensor.untyped_storage()._cdata not in self.places._said:
                self.places.say(tensor, _EITHER)
        return result

    def _common(self, name: str, tensors: Sequence[Tensor]) -> torch.device:
        places = [(tensor, self.places.of(tensor)) for tensor in tensors]
        known = [(tensor, place) for tensor, place in places if place != _EITHER]
        if not known:
            return _EITHER
        if name.partition(".")[0].rstrip("_") in {each.rstrip("_") for each in ACROSS}:
            return known[0][1]
        device = GPU if any(place == GPU for _, place in known) else CPU
        away = [tensor for tensor, place in known if place != device and tensor.ndim]
        if away:
            raise RuntimeError(
                f"{name} takes tensors of {device} and of {CPU}, among these one of shape {tuple(away[0].shape)}: "
                "make it on the device of the others, or register it as a buffer"
            )
        return device


class _Moved(torch.autograd.Function):
    """A copy on the other device, whose gradient goes back."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, places: _Places, device: torch.device) -> Tensor:
        ctx.places, ctx.device = places, places.of(tensor)
        copy = tensor.clone()
        places.say(copy, device)
        return copy

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _Moved.apply(grads[0], ctx.places, ctx.device), None, None  # type: ignore[no-untyped-call]


class _Functions(TorchFunctionMode):
    """Says where tensors lie and moves them, wherever Python code asks for a device."""

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self.places = places
        self.special: dict[Any, Callable[..., Any]] = {
            Tensor.device.__get__: places.of,
            Tensor.is_cuda.__get__: lambda tensor: places.of(tensor) == GPU,  # type: ignore[attr-defined]
            Tensor.is_cpu.__get__: lambda tensor: places.of(tensor) != GPU,  # type: ignore[attr-defined]
            Tensor.get_device: lambda tensor: 0 if places.of(tensor) == GPU else -1,
            Tensor.to: self._to,
            Tensor.cpu: lambda tensor, *_: self._moved(tensor, CPU),
            Tensor.cuda: lambda tensor, *_, **__: self._moved(tensor, GPU),
            Tensor.pin_memory: lambda tensor, *_: tensor,
            Tensor.record_stream: lambda *_: None,
        }

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function."""
        kwargs = dict(kwargs or {})
        special = self.special.get(func)
        if special is not None:
            return special(*args, **kwargs)
        if func in (Tensor.numpy, Tensor.__array__) and self.places.of(args[0]) == GPU:
            raise TypeError(f"can't convert {GPU} device type tensor to numpy. Use Tensor.cpu() to copy the tensor first.")
        target = kwargs.get("device")
        if target is not None:
            return self._made_on(torch.device(target), func, args, kwargs)
        around = {self.places.of(tensor) for tensor in _tensors(args, kwargs)}
        device = GPU if GPU in around else CPU if around <= {CPU} else _EITHER
        _check_noise(func, device, kwargs)
        result = func(*args, **kwargs)
        self.places.settle(result, device)
        return result

    def _made_on(self, device: torch.device, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run a function that is told of a device."""
        device = GPU if device.type == "cuda" else device
        if func in (torch.as_tensor, torch.asarray) and isinstance(args[0], Tensor):
            return self._to(args[0], device, **{key: value for key, value in kwargs.items() if key == "dtype"})
        _check_noise(func, device, kwargs)
        if device.type == "meta":
            return func(*args, **kwargs)
        result = func(*args, **{**kwargs, "device": CPU})
        for tensor in _tensors(result):
            self.places.say(tensor, device)
        return result

    def _to(self, tensor: Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        other = args[0] if args and isinstance(args[0], Tensor) else kwargs.pop("other", None)
        if other is not None:
            device, dtype, layout = self.places.of(other), other.dtype, None
        else:
            device, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)
        if device is not None and device.type == "meta":
            return tensor.to(device, dtype or tensor.dtype)
        moved = tensor if device is None else self._moved(tensor, device)
        result = moved.to(dtype or moved.dtype, copy=copy, memory_format=layout or torch.preserve_format)
        self.places.settle(result, self.places.of(moved))
        return result

    def _moved(self, tensor: Tensor, device: torch.device) -> Tensor:
        device = GPU if device.type == "cuda" else device
        if self.places.of(tensor) == device:
            return tensor
        moved: Tensor = _Moved.apply(tensor, self.places, device)  # type: ignore[no-untyped-call]
        return moved


def _check_noise(func: Any, device: torch.device, kwargs: Mapping[str, Any]) -> None:
    noise = kwargs.get("generator")
    if noise is not None and noise.device.type != device.type:
        raise RuntimeError(f"{func.__name__} for {device} draws from a generator of {noise.device}")


class _Noise:
    """Hands out core's generators, each with the device that it is for."""

    def generator(
        self, kind: type[torch.Generator], device: torch.device | str, seed: int, purpose: tuple[str | int, ...]
    ) -> torch.Generator:
        """Return the generator for a purpose."""
        place = GPU if torch.device(device).type == "cuda" else CPU
        said = type(kind.__name__, (kind,), {"device": property(lambda _: place)})
        noise: torch.Generator = said()
        noise.manual_seed(derive(seed, *purpose))
        return noise

    def seed_default(self, seed: int, purpose: tuple[str | int, ...]) -> None:
        """Leave the default generators as they are: a recipe must not depend on them."""

    def input(self, make: Callable[[int], Tensor], count: int) -> Tensor:
        """Return what the CPU computes for an iteration."""
        return make(count)


class AnotherDevice:
    """Makes ``cuda:0`` a device inside the ``with``, which gives it, for `Run` and whatever else is told of a device.

    Not a test of a GPU: nothing is computed there, and ``.item()`` waits for nothing.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> torch.device:
        _PLACES.forget()
        for name, stand_in in _CUDA.items():
            self._stack.enter_context(mock.patch.object(torch.cuda, name, stand_in))
        self._stack.enter_context(drawing_from(_Noise()))
        self._stack.enter_context(_Operators(_PLACES))
        self._stack.enter_context(_Functions(_PLACES))
        return GPU

    def __exit__(self, *raised: Any) -> None:
        self._stack.close()


_CUDA: dict[str, Any] = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "synchronize": lambda *_: None,
    "mem_get_info": lambda *_: (2**36, 2**36),
    "is_bf16_supported": lambda *_, **__: True,
    "get_device_name": lambda *_: "no GPU",
    "device": lambda *_: nullcontext(),
    "manual_seed": lambda *_: None,
    "manual_seed_all": lambda *_: None,
    "get_rng_state": lambda *_: torch.get_rng_state(),
    "set_rng_state": lambda *_: None,
}
