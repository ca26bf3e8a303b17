"""What components keep in Python, wherever an iteration could reach it: to tell whether one changes it, and to put it back."""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gancore.tools import Run
from gancore_profile.recording import NotRepeatable

FOREIGN = frozenset({*sys.stdlib_module_names, "torch", "numpy", "gancore"})
"""Packages whose functions and classes keep nothing for a component."""

MOST_BYTES = 64 << 20
"""The largest array or tensor of which a copy is kept; a larger one, such as a data set's, can be told to change, no more."""

LEAVES = (int, float, complex, str, bytes, type(None), ModuleType, BuiltinFunctionType, torch.dtype, torch.device)

OF_SLOTS = ("__dict__", "__weakref__")

Place = tuple[str, str]
"""An owner, and the attribute of it through which something is reached."""

MISSING = object()


class _Kept(Protocol):
    """What one object was like."""

    def changed(self) -> str | None:
        """Return None, or a name of what has changed, which may be empty."""

    def restore(self) -> None:
        """Put it back."""


class _Mapping:
    """What is in a dictionary; by names, or all of it."""

    def __init__(self, space: dict[Any, Any], names: tuple[str, ...] | None = None) -> None:
        self._space, self._all = space, names is None
        self._content = dict(space) if names is None else {name: space[name] for name in names}

    def changed(self) -> str | None:
        """Return None, or the name of what has changed."""
        names = {**self._content, **self._space} if self._all else self._content
        changed = (name for name in names if not _same(self._content.get(name, MISSING), self._space.get(name, MISSING)))
        return next(map(str, changed), None)

    def restore(self) -> None:
        """Put it back."""
        if self._all:
            self._space.clear()
        self._space.update(self._content)


class _Attributes:
    """Attributes of an object or a class."""

    def __init__(self, owner: Any, names: tuple[str, ...]) -> None:
        self._owner, self._names = owner, names
        self._content = self._now()

    def changed(self) -> str | None:
        """Return None, or the name of what has changed."""
        changed = (name for name, a, b in zip(self._names, self._content, self._now(), strict=True) if not _same(a, b))
        return next(changed, None)

    def restore(self) -> None:
        """Put it back."""
        for name, old, new in zip(self._names, self._content, self._now(), strict=True):
            if old is MISSING and new is not MISSING:
                delattr(self._owner, name)
            elif old is not new:
                # An immutable class of ours keeps others from writing, which is no reason to leave it as it is.
                (type if isinstance(self._owner, type) else object).__setattr__(self._owner, name, old)

    def _now(self) -> list[Any]:
        if isinstance(self._owner, type):
            return [vars(self._owner).get(name, MISSING) for name in self._names]
        return [_attribute(self._owner, name) for name in self._names]


class _Collection:
    """What is in a list or the like."""

    def __init__(self, collection: Any) -> None:
        self._collection, self._content = collection, collection.copy()

    def changed(self) -> str | None:
        """Return None, or an empty name."""
        now = self._collection
        if isinstance(now, set | bytearray):
            return None if now == self._content else ""
        return None if len(now) == len(self._content) and all(map(_same, now, self._content)) else ""

    def restore(self) -> None:
        """Put it back."""
        self._collection.clear()
        (self._collection.update if isinstance(self._collection, set) else self._collection.extend)(self._content)


class _Values:
    """What is in a tensor or an array."""

    def __init__(self, values: Any) -> None:
        self._values, self._version = values, _version(values)
        # A view of few elements may belong to a large memory, but only what it sees is looked at.
        small = values.nbytes <= MOST_BYTES
        self._content = None if not small else values.clone() if isinstance(values, Tensor) else values.copy()

    def changed(self) -> str | None:
        """Return None, or an empty name."""
        if self._content is None:
            return None if _version(self._values) == self._version else ""
        return None if _bytes(self._values) == _bytes(self._content) else ""

    def restore(self) -> None:
        """Put it back."""
        if self._content is None:
            raise RuntimeError("a component changes what is too large to be copied")
        with torch.no_grad():
            self._values[...] = self._content


class _Stream:
    """Where a random stream stands."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._state = self._now()

    def changed(self) -> str | None:
        """Return None, or an empty name."""
        now = self._now()
        same = torch.equal(now, self._state) if isinstance(now, Tensor) else repr(now) == repr(self._state)
        return None if same else ""

    def restore(self) -> None:
        """Put it back."""
        if isinstance(self._stream, random.Random):
            self._stream.setstate(self._state)
        elif isinstance(self._stream, np.random.Generator):
            self._stream.bit_generator.state = self._state
        else:
            self._stream.set_state(self._state)

    def _now(self) -> Any:
        if isinstance(self._stream, random.Random):
            return self._stream.getstate()
        return self._stream.bit_generator.state if isinstance(self._stream, np.random.Generator) else self._stream.get_state()


def _attribute(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name, MISSING)
    except ValueError:  # a closure's cell that is empty yet
        return MISSING


def _same(one: Any, two: Any) -> bool:
    """Return whether two values are the very same object, or equal numbers and texts, or tuples of such."""
    if isinstance(one, tuple) and type(one) is type(two):
        return len(one) == len(two) and all(map(_same, one, two))
    return one is two or (isinstance(one, LEAVES) and type(one) is type(two) and repr(one) == repr(two))


def _version(values: Any) -> int:
    return values._version if isinstance(values, Tensor) and not values.is_inference() else 0


def _bytes(values: Any) -> bytes:
    if isinstance(values, Tensor):
        # As numbers they would differ from themselves where they are none.
        values = values.cpu().resolve_conj().resolve_neg().contiguous().view(-1).view(torch.uint8).numpy()
    return bytes(values.tobytes())


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", None)).partition(".")[0]


def _foreign(value: Any) -> bool:
    return _package(value) in FOREIGN


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function, and of those inside of it."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


class PythonState:
    """What is reached from some objects, by attributes, containers, closures, and names that functions read, as it is now.

    Args:
        roots: The objects, by name.
        known: Addresses of memory that somebody else looks after.

    Raises:
        NotRepeatable: An iterator is among it, of which nobody can tell where it stands.
    """

    def __init__(self, roots: Mapping[str, Any], known: frozenset[int]) -> None:
        self._known = known
        # What is held can't be freed, so that no other object comes to lie at its place.
        self._seen: dict[int, Any] = {}
        self._kept: list[tuple[Place, _Kept]] = []
        waiting: deque[tuple[Place, Any]] = deque()
        for owner, root in roots.items():
            space = vars(root)
            self._seen[id(space)] = space
            self._kept.append(((owner, ""), _Mapping(space)))
            waiting.extend(((owner, name), value) for name, value in space.items())
            waiting.append(((owner, ""), type(root)))
        while waiting:
            place, value = waiting.popleft()
            if isinstance(value, LEAVES) or id(value) in self._seen:
                continue
            self._seen[id(value)] = value
            waiting.extend((place, inner) for inner in self._look(place, value))

    def check(self) -> None:
        """Check that all is as it was.

        Raises:
            NotRepeatable: Something is not.
        """
        for (owner, name), kept in self._kept:
            changed = kept.changed()
            if changed is None:
                continue
            if isinstance(kept, _Values):
                raise NotRepeatable(f"{owner} changes a tensor that is no part of the run's state, in {name or 'its class'}")
            if isinstance(kept, _Stream):
                raise NotRepeatable(f"{owner} draws from a generator of its own, in {name or 'its class'}")
            raise NotRepeatable(f"{owner} changes {name or changed}, which is no tensor, in an iteration")

    def restore(self) -> None:
        """Put back what has changed.

        Raises:
            RuntimeError: It is too large to have been copied.
        """
        for _, kept in self._kept:
            if kept.changed() is not None:
                kept.restore()

    def _look(self, place: Place, value: Any) -> Iterator[Any]:
        """Keep what can change in an object itself, and yield what it refers to."""
        if isinstance(value, Tensor | np.ndarray):
            self._keep_values(place, value)
        elif isinstance(value, random.Random | np.random.Generator | np.random.RandomState | torch.Generator):
            self._kept.append((place, _Stream(value)))
        elif isinstance(value, list | deque | set | bytearray):
            self._kept.append((place, _Collection(value)))
            yield from value
        elif isinstance(value, dict):
            self._kept.append((place, _Mapping(value)))
            yield from value.values()
        elif isinstance(value, tuple | frozenset):
            yield from value
        elif isinstance(value, CellType):
            self._kept.append((place, _Attributes(value, ("cell_contents",))))
            yield _attribute(value, "cell_contents")
        elif isinstance(value, FunctionType):
            yield from self._look_at_function(place, value)
        elif isinstance(value, MethodType):
            yield from (value.__self__, value.__func__)
        elif isinstance(value, partial):
            yield from (value.func, value.args, value.keywords)
        elif isinstance(value, type):
            yield from self._look_at_class(place, value)
        elif not isinstance(value, Run):
            yield from self._look_at_object(place, value)

    def _keep_values(self, place: Place, value: Tensor | np.ndarray[Any, Any]) -> None:
        if isinstance(value, Tensor):
            if (
                value.layout != torch.strided
                or value.device.type == "meta"
                or value.untyped_storage().data_ptr() in self._known
            ):
                return
            value = value.detach()
        self._kept.append((place, _Values(value)))

    def _look_at_function(self, place: Place, value: FunctionType) -> Iterator[Any]:
        if _foreign(value):
            return
        yield from (value.__defaults__, value.__kwdefaults__, value.__dict__, *(value.__closure__ or ()))
        names = [name for code in _codes(value.__code__) for name in code.co_names if name in value.__globals__]
        self._kept.append((place, _Mapping(value.__globals__, tuple(names))))
        for name in names:
            inner = value.__globals__[name]
            yield inner
            # Of another module only what may be named here, such as a counter that several modules share.
            if isinstance(inner, ModuleType) and inner.__name__.partition(".")[0] not in FOREIGN:
                theirs = [each for code in _codes(value.__code__) for each in code.co_names if each in vars(inner)]
                self._kept.append((place, _Mapping(vars(inner), tuple(theirs))))
                yield from map(vars(inner).get, theirs)

    def _look_at_class(self, place: Place, value: type) -> Iterator[Any]:
        for each in value.__mro__:
            if not _foreign(each):
                names = tuple(name for name in vars(each) if not name.startswith("__"))
                self._kept.append((place, _Attributes(each, names)))
                yield from (getattr(inner, "__func__", getattr(inner, "fget", inner)) for inner in map(vars(each).get, names))

    def _look_at_object(self, place: Place, value: Any) -> Iterator[Any]:
        if isinstance(value, Iterator) and _foreign(type(value)):
            raise NotRepeatable(f"{place[0]} keeps an iterator, {place[1]}, of which nobody can tell where it stands")
        if _package(type(value)) in FOREIGN - {"gancore", "torch"}:
            return
        yield type(value)
        if isinstance(getattr(value, "__dict__", None), dict):
            yield vars(value)
        slots = (getattr(each, "__slots__", ()) for each in type(value).__mro__)
        names = [name for own in slots for name in ([own] if isinstance(own, str) else own) if name not in OF_SLOTS]
        if names:
            self._kept.append((place, _Attributes(value, tuple(names))))
            yield from (getattr(value, name, None) for name in names)
