"""The operators of an iteration, below autograd: recorded with where each tensor comes from, to be called again."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

from gancore_profile.programs import Call, Slot, leaves, mapped, program, slots
from gancore_profile.recording import NotRepeatable

LIFT = "aten::lift_fresh"
"""Takes in a tensor that was made from Python's numbers."""

UNSEEN = ("tolist", "numpy", "__array__", "__dlpack__")
"""What hands values on a CPU to Python without an operator."""


class Reads:
    """Refuses what hands values to Python without an operator, inside the ``with``, backward passes included.

    These are hidden from torch's modes while a function of torch runs, as a backward pass does, so the methods are replaced.
    """

    def __enter__(self) -> None:
        """Replace the methods."""
        self._own = {name: vars(Tensor)[name] for name in UNSEEN if name in vars(Tensor)}
        for name in UNSEEN:
            setattr(Tensor, name, _refused(name, getattr(Tensor, name), threading.get_ident()))

    def __exit__(self, *_: object) -> None:
        """Put them back."""
        for name in UNSEEN:
            delattr(Tensor, name)
            if name in self._own:
                setattr(Tensor, name, self._own[name])


def _refused(name: str, original: Callable[..., Any], thread: int) -> Callable[..., Any]:
    def read(*args: Any, **kwargs: Any) -> Any:
        """Read a tensor, unless in the iteration's thread."""
        if threading.get_ident() == thread:
            raise NotRepeatable(f"Tensor.{name} hands values to Python, which would be frozen")
        return original(*args, **kwargs)

    return read


class Recording(TorchDispatchMode):
    """Keeps the operators inside the ``with``, as calls on slots and on tensors that were there before.

    A tensor is known by its memory and its place there, and not by the object that stands for it, of which autograd makes
    several. Nothing that is made inside is held, for whether somebody holds a gradient decides if autograd copies it.

    Args:
        generators: What operators may draw from.

    Attributes:
        written: Tensors that were there before and are written to, and by which operator.

    Raises:
        NotRepeatable: An operator can't be called again by itself.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self._generators = generators
        # A weak reference keeps the storage's number from being used again.
        self._before = {storage.cdata: storage for storage in map(_storage, _tensors_of_python())}
        self._inside: dict[int, StorageWeakRef] = {}
        self._slots: dict[Any, Slot] = {}
        self._outside: dict[Any, Tensor] = {}
        self.written: dict[Any, tuple[Tensor, str]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator and keep it."""
        kwargs = dict(kwargs or {})
        self._check(func, types)
        if func.name() == LIFT:
            return self._lifted(args[0])
        taken = mapped(list(args), self._taken)
        named = {name: mapped(value, self._taken) for name, value in kwargs.items()}
        result = func(*args, **kwargs)
        if any(isinstance(leaf, Tensor) for leaf in leaves([*args, *kwargs.values(), result])):
            self._keep(func, (args, kwargs), (taken, named), result)
        return result

    def slot(self, tensor: Tensor) -> Slot | None:
        """Return the slot of a tensor, or None where it was there before."""
        known = self._taken(tensor)
        return known if isinstance(known, Slot) else None

    def copy_to(self, tensor: Tensor, slot: Slot) -> None:
        """Add a call that copies a slot to a tensor."""
        self.calls.append(Call(torch.ops.aten.copy_.default, (tensor.detach(), slot), {}, None, (slot,), keep=True))

    def check_let_go(self, known: Sequence[Tensor]) -> None:
        """Check that of all tensors that were made inside no others than the known ones are alive.

        Raises:
            NotRepeatable: Somebody keeps another.
        """
        gc.collect()
        ours = {_storage(tensor).cdata for tensor in known}
        if any(number not in ours and not storage.expired() for number, storage in self._inside.items()):
            raise NotRepeatable("a component keeps a tensor from one iteration to the next where no checkpoint looks")

    def program(self, outputs: Sequence[Slot]) -> Callable[[], tuple[Tensor, ...]]:
        """Return what calls the operators again and returns some of the slots."""
        return program(self.calls, outputs)

    # ------------------------------------------------------------------------------------------------------------------

    def _check(self, func: Any, types: Sequence[type]) -> None:
        if torch.Tag.inplace_view in func.tags:
            raise NotRepeatable(f"{func.name()} changes the shape of a tensor that is there")
        if torch.Tag.dynamic_output_shape in func.tags and not func.name().startswith("aten::index"):
            raise NotRepeatable(f"{func.name()} makes a tensor whose shape depends on values, and would be frozen")
        strange = [kind for kind in types if kind not in (Tensor, Parameter)]
        if strange:
            raise NotRepeatable(f"a component computes with {strange[0].__name__}, a tensor of a kind of its own")

    def _lifted(self, tensor: Tensor) -> Tensor:
        """Return a tensor of Python's numbers; it is made anew each time, for it may be written to."""
        fresh: Tensor = torch.ops.aten.lift_fresh(tensor)
        values = tensor.clone()
        slot = self._made(fresh)
        self.calls.append(Call(torch.ops.aten.clone.default, (values,), {}, slot, ()))
        return fresh

    def _taken(self, leaf: Any) -> Any:
        """Return the slot of a tensor or, of one that was there before, what stands for it for ever; anything else as it is."""
        if isinstance(leaf, torch.Generator):
            # An operator sees another object for the same stream, whose seed no other has.
            known = next((each for each in self._generators if each.initial_seed() == leaf.initial_seed()), None)
            if known is None:
                raise NotRepeatable("a component draws from a generator of its own")
            return known
        if not isinstance(leaf, Tensor):
            return leaf
        place = _place(leaf)
        if place in self._slots:
            return self._slots[place]
        if place[0] in self._inside:
            return self._viewed(leaf, place)
        if place[0] not in self._before:
            raise NotRepeatable("a component makes a tensor without torch (torch.from_numpy, a compiled network)")
        if place not in self._outside:
            self._outside[place] = leaf
        return self._outside[place]

    def _viewed(self, tensor: Tensor, place: Any) -> Slot:
        """Return the slot of a view that no operator has made, such as a tensor's ``.data`` in another shape."""
        base = next((slot for known, slot in self._slots.items() if known[:2] == place[:2]), None)
        if base is None or tensor.is_conj() or tensor.is_neg():
            raise NotRepeatable("a component looks at a tensor's memory as another type")
        slot = self._slots[place] = Slot(len(self._slots), place[0])
        shape = [*tensor.shape], [*tensor.stride()], tensor.storage_offset()
        self.calls.append(Call(torch.ops.aten.as_strided.default, (base, *shape), {}, slot, (base,)))
        return slot

    def _keep(self, func: Any, real: tuple[Any, Any], taken: tuple[list[Any], dict[str, Any]], result: Any) -> None:
        changed = {_place(tensor): tensor for tensor in _written(func, *real)}
        written = frozenset(place[0] for place in changed)
        outside = {place: (tensor, func.name()) for place, tensor in changed.items() if place[0] not in self._inside}
        self.written.update(outside)
        results = mapped(result, partial(self._result, func))
        reads = slots([*taken[0], *taken[1].values()])
        silent = not any(isinstance(leaf, Tensor) for leaf in leaves(result))
        streams = any(isinstance(leaf, torch.Generator) for leaf in leaves([*real[0], *real[1].values()]))
        draws = streams or torch.Tag.nondeterministic_seeded in func.tags
        keep = bool(outside) or draws or (silent and not written)
        if keep or written or slots([results]):
            self.calls.append(Call(func, tuple(taken[0]), taken[1], results, reads, written, keep))

    def _result(self, func: Any, leaf: Any) -> Slot | None:
        """Return the slot of a tensor that is new: a view of what was there before is no more than that."""
        if not isinstance(leaf, Tensor):
            if leaf is not None:
                raise NotRepeatable(f"{func.name()} hands a value to Python, which would be frozen")
            return None
        place = _place(leaf)
        if place in self._slots or (place[0] in self._before and place[0] not in self._inside):
            return None
        return self._made(leaf)

    def _made(self, tensor: Tensor) -> Slot:
        place = _place(tensor)
        if place[0] not in self._inside:
            self._inside[place[0]] = _storage(tensor)
        slot = self._slots[place] = Slot(len(self._slots), place[0])
        return slot


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors that an operator writes to."""
    arguments = func._schema.arguments
    values = {**dict(zip((argument.name for argument in arguments), args, strict=False)), **kwargs}
    changed = [values.get(each.name) for each in arguments if each.alias_info is not None and each.alias_info.is_write]
    return [leaf for leaf in leaves(changed) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())


def _place(tensor: Tensor) -> Any:
    """Return what tells a tensor from every other: its memory and how it looks at it."""
    where = tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.is_conj(), tensor.is_neg()
    return tensor.untyped_storage()._cdata, tensor.dtype, *where


def _tensors_of_python() -> list[Tensor]:
    """Return all tensors on the CPU that Python holds."""
    held = [each for each in gc.get_objects() if issubclass(type(each), Tensor)]
    return [tensor for tensor in held if tensor.layout == torch.strided and tensor.device.type == "cpu"]
