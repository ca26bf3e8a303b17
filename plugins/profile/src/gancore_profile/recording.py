"""What one iteration takes from the host, so that it can be handed out anew: seeds of its random streams, and its indices."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import torch
from torch import Tensor

from gancore.tools import derive, drawing_from, seed_default

if TYPE_CHECKING:
    from gancore.tools import Run


class NotRepeatable(Exception):  # noqa: N818 - it is no error, the iteration runs as it always has
    """An iteration can't stand for others; the text says why."""


class Count:
    """A number of the run that goes up with its iterations, while one is recorded.

    It may be part of a generator's purpose, be added to, and be made an `int` or a text by the core, which derives seeds of it
    and asks for what a graph is looked up by. Any other use would be frozen into the record, so it is refused; that it is no
    `int` lets it see every one.

    Args:
        value: The number.
        name: Of the run's counter.

    Raises:
        NotRepeatable: Python decides or computes by it.
    """

    def __init__(self, value: int, name: str) -> None:
        self._value = value
        self.name = name

    def __int__(self) -> int:
        self._check_asker()
        return self._value

    def __str__(self) -> str:
        self._check_asker()
        return str(self._value)

    def _check_asker(self) -> None:
        """Refuse to say it to anybody but the core."""
        asking = str(sys._getframe(2).f_globals.get("__name__"))
        if not asking.startswith(("gancore.", "gancore_profile.")):
            self._refuse()

    def __add__(self, other: int) -> Count:
        """Return a later count."""
        return Count(self._value + int(other), self.name)

    __radd__ = __add__

    def _refuse(self, *_: object) -> NoReturn:
        raise NotRepeatable(f"an iteration's Python depends on run.{self.name}")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = __hash__ = __index__ = __float__ = _refuse
    __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = __divmod__ = __rdivmod__ = __pow__ = __rpow__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __and__ = __rand__ = __or__ = __ror__ = __xor__ = _refuse
    __rxor__ = __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = __neg__ = __pos__ = __abs__ = __invert__ = _refuse
    __round__ = __trunc__ = __floor__ = __ceil__ = _refuse


@attrs.frozen
class _Later:
    """A count as so many after where its iteration began."""

    name: str
    offset: int


@attrs.frozen
class _Draw:
    generator: torch.Generator
    seed: int
    purpose: tuple[str | int | _Later, ...]


@attrs.frozen(eq=False)
class _Input:
    tensor: Tensor
    make: Callable[[int], Tensor]
    count: _Later


class Tape:
    """Records an iteration's generators and indices, and hands out the very same ones when the iteration is run again.

    Args:
        device: Where the iteration computes.
        seeding: Called with what seeds the default generators, when the iteration is run again; none are seeded without it.

    Attributes:
        default_used: Whether something in the recorded iteration drew from a default generator.
    """

    def __init__(self, device: torch.device, seeding: Callable[[Callable[[], None]], None] | None = None) -> None:
        self.device = device
        self._seeding = seeding
        self._counters: dict[str, int] = {}
        self.default_used = False
        self._draws: list[_Draw] = []
        self._inputs: list[_Input] = []
        self._start: dict[str, int] = {}
        self._playing = False
        self._place = [0, 0]
        self._default: list[bytes] | None = None

    @property
    def generators(self) -> list[torch.Generator]:
        """The generators on the device, in the order of their calls."""
        return [draw.generator for draw in self._draws]

    @property
    def inputs(self) -> int:
        """How many tensors are filled before a replay."""
        return len(self._inputs)

    @contextmanager
    def around(self, run: Run) -> Iterator[None]:
        """Record the iteration inside the first such ``with``; in later ones hand out what that one recorded.

        Raises:
            NotRepeatable: The iteration uses the host in a way that can't be repeated, or differs from the recorded one.
        """
        self._start = run.counters()
        self._place = [0, 0]
        for name, value in self._start.items():
            setattr(run, name, Count(value, name))
        self._look_at_default()
        try:
            with drawing_from(self):
                yield
            self._look_at_default()
            if self._playing and self._place != [len(self._draws), len(self._inputs)]:
                raise NotRepeatable("an iteration drew less than the one before it")
        finally:
            for name in self._start:
                setattr(run, name, int(getattr(run, name)))
            self._playing = True
            self._default = None

    def write(self, counters: Mapping[str, int]) -> None:
        """Seed the generators and fill the indices for the iteration at which the run's counters stand."""
        self._counters = dict(counters)
        for draw in self._draws:
            draw.generator.manual_seed(derive(draw.seed, *self._now(draw.purpose)))
        for each in self._inputs:
            each.tensor.copy_(each.make(counters[each.count.name] + each.count.offset), non_blocking=True)

    # -- what an iteration calls ---------------------------------------------------------------------------------------

    def generator(self, kind: type[Any], device: torch.device | str, seed: int, purpose: tuple[Any, ...]) -> Any:
        """Return the generator for a purpose, seeded where the iteration is recorded."""
        pattern = self._pattern(purpose)
        if self._playing:
            number = self._next(0, len(self._draws))
            draw = self._draws[number]
            if (draw.seed, draw.purpose) != (seed, pattern) or not isinstance(draw.generator, kind):
                raise NotRepeatable("an iteration drew for other purposes than the one before it")
            return draw.generator
        noise = kind(device)
        if noise.device.type != self.device.type:
            raise NotRepeatable(f"a component draws on the {noise.device.type} for {purpose[0]!r}, not on the device")
        noise.manual_seed(derive(seed, *purpose))
        self._draws.append(_Draw(noise, seed, pattern))
        return noise

    def seed_default(self, seed: int, purpose: tuple[Any, ...]) -> None:
        """Look whether the turn before drew from a default generator; in a graph none is seeded but by what can do that."""
        self._look_at_default()
        if not (self._playing and self._seeding):
            return
        pattern = self._pattern(purpose)

        def seed_now() -> None:
            with drawing_from(None):
                seed_default(self.device, seed, *self._now(pattern))

        self._seeding(seed_now)

    def input(self, make: Callable[[int], Tensor], count: Any) -> Tensor:
        """Return a tensor on the device that holds ``make(count)``, and will hold that of a later count."""
        if not isinstance(count, Count):
            raise NotRepeatable("a batch was drawn for no number of the run's")
        if self._playing:
            return self._inputs[self._next(1, len(self._inputs))].tensor
        with drawing_from(None):
            # A copy of its own in any case, for it will be overwritten.
            tensor = make(int(count)).to(self.device, copy=True)
        self._inputs.append(_Input(tensor, lambda number: _anew(make, number), self._later(count)))
        return tensor

    # ------------------------------------------------------------------------------------------------------------------

    def _pattern(self, purpose: tuple[Any, ...]) -> tuple[str | int | _Later, ...]:
        return tuple(self._later(word) if isinstance(word, Count) else word for word in purpose)

    def _now(self, pattern: tuple[str | int | _Later, ...]) -> Iterator[str | int]:
        """Yield a purpose as it is in the iteration that was written last."""
        for word in pattern:
            yield self._counters[word.name] + word.offset if isinstance(word, _Later) else word

    def _later(self, count: Count) -> _Later:
        return _Later(count.name, int(count) - self._start[count.name])

    def _next(self, which: int, number: int) -> int:
        place = self._place[which]
        if place >= number:
            raise NotRepeatable("an iteration drew more than the one before it")
        self._place[which] += 1
        return place

    def _look_at_default(self) -> None:
        # Of a graph that is being captured there is nothing to read.
        if self._playing:
            return
        tensors = [torch.default_generator.get_state()]
        if self.device.type == "cuda":
            tensors.append(torch.cuda.get_rng_state(self.device))
        # As bytes, for comparing tensors is what a watch for synchronization looks out for.
        states = [state.numpy().tobytes() for state in tensors]
        if self._default is not None and states != self._default:
            self.default_used = True
        self._default = states


def _anew(make: Callable[[int], Tensor], number: int) -> Tensor:
    with drawing_from(None):
        return make(number)
