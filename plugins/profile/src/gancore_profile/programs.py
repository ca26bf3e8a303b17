"""Operators that were called one after the other, as one function that calls them again with nothing in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor


@attrs.frozen
class Slot:
    """A tensor that one of the operators makes.

    Attributes:
        number: Its own.
        storage: Of the memory in which it lies, with its views.
    """

    number: int
    storage: int


@attrs.frozen(eq=False)
class Call:
    """A call of an operator.

    Attributes:
        operator: What is called.
        args: Its arguments, with slots in the places of tensors that calls before it make.
        kwargs: Those by name.
        results: What it returns: slots for tensors that are new, None for all else.
        reads: Slots among its arguments.
        writes: Storages that it writes to.
        keep: Whether it has to be called though nobody reads what it makes.
    """

    operator: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    results: Any
    reads: tuple[Slot, ...]
    writes: frozenset[int] = frozenset()
    keep: bool = False


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return a tree of lists and tuples with each leaf changed."""
    if isinstance(tree, list | tuple):
        return [mapped(each, change) for each in tree]
    return change(tree)


def leaves(tree: Any) -> Iterator[Any]:
    """Yield the leaves of a tree of lists and tuples."""
    if isinstance(tree, list | tuple):
        for each in tree:
            yield from leaves(each)
    else:
        yield tree


def slots(tree: Any) -> tuple[Slot, ...]:
    """Return the slots in a tree of lists and tuples."""
    return tuple(leaf for leaf in leaves(tree) if isinstance(leaf, Slot))


def needed(calls: Sequence[Call], outputs: Sequence[Slot]) -> list[Call]:
    """Return the calls that outputs, or tensors from outside, depend on; in their order."""
    wanted, storages = {slot.number for slot in outputs}, {slot.storage for slot in outputs}
    chosen = []
    for call in reversed(calls):
        if call.keep or call.writes & storages or any(slot.number in wanted for slot in slots(call.results)):
            chosen.append(call)
            wanted.update(slot.number for slot in call.reads)
            storages.update(slot.storage for slot in call.reads)
    return chosen[::-1]


def program(calls: Sequence[Call], outputs: Sequence[Slot]) -> Callable[[], tuple[Tensor, ...]]:
    """Return a function that makes calls anew and returns some of what they make; each tensor is let go after its last use.

    Args:
        calls: In their order; those that nothing depends on are left out.
        outputs: What is returned.
    """
    text = _Text()
    calls = needed(calls, outputs)
    last: dict[int, int] = {}
    for place, call in enumerate(calls):
        last.update((slot.number, place) for slot in (*call.reads, *slots(call.results)))
    for slot in outputs:
        last[slot.number] = len(calls)
    for place, call in enumerate(calls):
        text.add(call, sorted({slot.number for slot in (*call.reads, *slots(call.results)) if last[slot.number] == place}))
    return text.function(outputs)


class _Text:
    """The text of a function of nothing but calls, names of tensors, and constants that lie beside it.

    Python runs straight lines faster than any loop over a table of calls.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def add(self, call: Call, ending: Sequence[int]) -> None:
        """Add a call, and let go of the slots that end with it."""
        words = [self._value(each) for each in call.args]
        words += [f"{name}={self._value(each)}" for name, each in call.kwargs.items()]
        # An overload's own function is called directly: what lies around it in Python is a third of a small operator's time.
        operator = self._constant(getattr(call.operator, "_op", call.operator))
        line = f"{operator}({', '.join(words)})"
        target = self._target(call.results)
        self.lines.append(f"{target} = {line}" if target else line)
        names = [*(f"v{number}" for number in ending), *(["_"] if "_" in target.strip("[]").split(", ") else [])]
        if names:
            self.lines.append(f"{' = '.join(names)} = None")

    def function(self, outputs: Sequence[Slot]) -> Callable[[], tuple[Tensor, ...]]:
        """Return the function."""
        self.lines.append(f"return ({''.join(f'v{slot.number}, ' for slot in outputs)})")
        # Numbered names alone enter the text; nothing of a recipe does.
        exec("def run():\n" + "".join(f"    {line}\n" for line in self.lines), self.constants)
        run: Callable[[], tuple[Tensor, ...]] = self.constants["run"]

        def below() -> tuple[Tensor, ...]:
            # Where the operators were recorded; autograd's look at each of them costs as much as a small one itself.
            with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
                return run()

        return below

    def _value(self, tree: Any) -> str:
        if isinstance(tree, Slot):
            return f"v{tree.number}"
        if isinstance(tree, list) and slots(tree):
            return f"[{', '.join(map(self._value, tree))}]"
        return self._constant(tree)

    def _constant(self, value: Any) -> str:
        if value is None or type(value) in (bool, int):
            return repr(value)
        # The constant is held, so its identity stays its own.
        name = self._names.setdefault(id(value), f"c{len(self._names)}")
        self.constants[name] = value
        return name

    def _target(self, results: Any) -> str:
        if isinstance(results, list):
            # One that has a name needs places for all of them.
            return f"[{', '.join(self._target(each) or '_' for each in results)}]" if slots(results) else ""
        return f"v{results.number}" if isinstance(results, Slot) else ""
