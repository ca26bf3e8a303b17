"""What an iteration costs: the numbers of a profile."""

from __future__ import annotations

import attrs

from gancore_profile.host_time import HostTime

DRAWING, LOOP, REST = "drawing batches", "loop", "rest of the turn"
"""Where time goes that is in no phase; in no span at all; in a phase, and in no span of it."""


IMAGES, WAIT = "images", "wait"
"""Place and work of the wait for images that are read by index."""


@attrs.frozen
class Row:
    """What one kind of span cost, for an iteration, without the spans inside it.

    Attributes:
        phase: Whose turn it was in, or `DRAWING`, or `LOOP`.
        place: The component in the recipe, e.g. ``losses.balance``, or what it was, e.g. ``backward``.
        work: What it did, e.g. ``forward``; may be empty.
        inside: The component that it was done for, e.g. ``attacks.pgd``; empty where the step itself did it.
        seconds: Time.
        flops: Floating-point operations of matrix products and convolutions.
        calls: How often.
    """

    phase: str
    place: str
    work: str
    inside: str
    seconds: float
    flops: float
    calls: float

    @property
    def name(self) -> str:
        """All but the phase, in words."""
        return f"{self.place} {self.work}".strip() + (f", in {self.inside}" if self.inside else "")


@attrs.frozen
class Operator:
    """One of torch's operators, or kernels of a GPU: its own seconds and calls in an iteration."""

    name: str
    seconds: float
    calls: float


@attrs.frozen
class Synchronization:
    """An operator that made the host wait for the device: where, and how often in an iteration."""

    operator: str
    phase: str
    where: str
    calls: float


@attrs.frozen
class Memory:
    """Memory for tensors, in bytes.

    Attributes:
        peak: Most that was allocated at one moment of an iteration.
        held: What of it was there when the iteration began.
        meaning: Who counted, and what is left out.
    """

    peak: int
    held: int
    meaning: str


@attrs.frozen
class Profile:
    """What an iteration costs.

    Attributes:
        recipe: Name of the recipe.
        digest: Its digest.
        device: The processor or GPU.
        threads: Threads of torch on the CPU.
        precision: ``float32`` or ``bfloat16``.
        precision_why: Who chose it.
        iterations: Iterations of each of the two timed passes.
        batch_size: Images of a batch.
        seconds: Median time of an iteration that nobody looked at.
        host: The host's own time of an iteration.
        seconds_with_spans: Mean time of an iteration with a clock at every span; what the rows add up to.
        matrix_rate: FLOP/s of large products in this precision, measured now.
        memory: Peak memory.
        rows: Costs, longest first.
        operators: The costliest operators, longest first.
        synchronizations: What made the host wait inside an iteration.
        untrained: Places of the components that other recipes train; what their weights are takes no time.
        host_without_graphs: The host's own time where no graph is replayed, if `seconds` and `host` are of replays; or None.
    """

    recipe: str
    digest: str
    device: str
    threads: int
    precision: str
    precision_why: str
    iterations: int
    batch_size: int
    seconds: float
    host: HostTime
    seconds_with_spans: float
    matrix_rate: float
    memory: Memory
    rows: tuple[Row, ...]
    operators: tuple[Operator, ...]
    synchronizations: tuple[Synchronization, ...]
    untrained: tuple[str, ...] = ()
    host_without_graphs: HostTime | None = None

    @property
    def images_per_second(self) -> float:
        """Images of a batch over the time of an iteration, as in a run's log."""
        return self.batch_size / self.seconds

    @property
    def waiting(self) -> float | None:
        """Share of an iteration in which it waits for images that are read by index; None where there are none."""
        waits = [row.seconds for row in self.rows if (row.place, row.work) == (IMAGES, WAIT)]
        return sum(waits) / self.seconds_with_spans if waits else None

    @property
    def flops(self) -> float:
        """Floating-point operations of an iteration."""
        return sum(row.flops for row in self.rows)

    @property
    def rate(self) -> float:
        """FLOP/s that were achieved."""
        return self.flops / self.seconds
