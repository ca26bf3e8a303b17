"""A profile in words and numbers, for a terminal of 80 columns; and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from gancore_profile.costs import Profile, Row

SMALL = 0.005
"""Rows with less than this share of the time are summed up in one."""

NAME, WIDTH = 42, 80


def as_table(profile: Profile) -> dict[str, Any]:
    """Return a profile for JSON: seconds, bytes, FLOP and FLOP/s."""
    numbers: dict[str, Any] = attrs.asdict(profile)
    return {
        **numbers,
        "images_per_second": profile.images_per_second,
        "share_that_waits_for_images": profile.waiting,
        "flops": profile.flops,
        "flops_per_second": profile.rate,
        "share_of_matrix_rate": profile.rate / profile.matrix_rate,
    }


def as_text(profile: Profile) -> str:
    """Return a profile as lines."""
    return "\n".join([*_head(profile), "", *_table(profile), "", *_operators(profile), "", *_summary(profile)])


def _head(profile: Profile) -> Iterator[str]:
    yield f"{profile.recipe}  (recipe {profile.digest})"
    threads = f"{profile.threads} thread{'s' * (profile.threads != 1)}"
    yield f"{profile.device}, {threads}"
    yield f"{profile.precision}, {profile.precision_why}"
    if profile.untrained:
        yield from textwrap.wrap(f"untrained, which takes the same time: {', '.join(profile.untrained)}", WIDTH)


def _line(name: str, seconds: float, share: float, flops: float | None = None) -> str:
    """Return a line of the table; a name that is too long has a line of its own."""
    lead = name.ljust(NAME) if len(name) <= NAME else f"{name}\n{'':{NAME}}"
    done = "" if not flops else f"{_amount(flops):>10}{_amount(flops / seconds):>10}"
    return f"{lead}{1000 * seconds:9.3f}{100 * share:7.1f} %{done}".rstrip()


def _table(profile: Profile) -> Iterator[str]:
    whole = profile.seconds_with_spans
    yield f"{'an iteration, by phase and place':{NAME}}{'ms':>9}{'share':>9}{'FLOP':>10}{'FLOP/s':>10}"
    phases = {row.phase: [other for other in profile.rows if other.phase == row.phase] for row in profile.rows}
    for phase, rows in sorted(phases.items(), key=lambda item: -_seconds(item[1])):
        yield _line(phase, _seconds(rows), _seconds(rows) / whole, sum(row.flops for row in rows))
        if [row.place for row in rows] == [phase]:
            continue
        large = [row for row in rows if row.seconds >= SMALL * whole]
        small = [row for row in rows if row.seconds < SMALL * whole]
        for row in large:
            many = f" x {row.calls:g}" if row.calls != 1 else ""
            yield _line(f"  {row.name}{many}", row.seconds, row.seconds / whole, row.flops)
        if small:
            title = f"  {small[0].name}" if len(small) == 1 else f"  {len(small)} smaller pieces"
            yield _line(title, _seconds(small), _seconds(small) / whole, sum(row.flops for row in small))


def _operators(profile: Profile) -> Iterator[str]:
    yield "the costliest operators, each without those that it calls"
    for operator in profile.operators:
        name = operator.name if len(operator.name) <= NAME - 8 else operator.name[: NAME - 11] + "..."
        yield _line(f"  {name} x {operator.calls:.3g}", operator.seconds, operator.seconds / profile.seconds_with_spans)


def _summary(profile: Profile) -> Iterator[str]:
    yield (
        f"{profile.images_per_second:.1f} images/s: {1000 * profile.seconds:.2f} ms an iteration of batch {profile.batch_size} "
        f"({1000 * profile.seconds_with_spans:.2f} with spans)"
    )
    if profile.waiting is not None:
        yield f"waits for images that are read by index: {100 * profile.waiting:.1f} % of an iteration (with spans)"
    yield from _host(profile)
    share = profile.rate / profile.matrix_rate
    yield (
        f"{_amount(profile.flops)}FLOP an iteration at {_amount(profile.rate)}FLOP/s = {100 * share:.0f} % of this machine's "
        f"{_amount(profile.matrix_rate)}FLOP/s"
    )
    yield f"  ({profile.precision} matrix products and convolutions, measured now)"
    memory = profile.memory
    yield f"peak memory {_megabytes(memory.peak)}, of which {_megabytes(memory.held)} are there between iterations"
    yield f"  ({memory.meaning})"
    if not profile.synchronizations:
        yield "host synchronizations inside an iteration: none"
        return
    yield "host synchronizations inside an iteration:"
    for wait in profile.synchronizations:
        yield f"  {wait.calls:g} x {wait.operator}"
        yield f"    in {wait.phase}: {wait.where}"


def _host(profile: Profile) -> Iterator[str]:
    host = profile.host
    yield f"the host's own time: {1000 * host.seconds:.2f} ms an iteration, with {host.calls} calls from Python"
    yield f"  that come to {host.operators} operators"
    if host.arithmetic:
        beyond = f"what operators take beyond {1e6 * host.launch:.1f} us"
        yield f"  (CPU time less {1000 * host.arithmetic:.2f} ms of arithmetic: {beyond})"
    else:
        yield "  (until everything is launched)"
    plain = profile.host_without_graphs
    if plain is not None:
        yield f"  without graphs: {1000 * plain.seconds:.2f} ms, with {plain.calls} calls and {plain.operators} operators"
        yield "  (the rows above are of iterations without graphs)"


def _seconds(rows: Sequence[Row]) -> float:
    return sum(row.seconds for row in rows)


def _megabytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB"


def _amount(value: float) -> str:
    """Return a number with three digits and the prefix of its unit."""
    prefixes = iter(("", "k", "M", "G", "T", "P"))
    prefix = next(prefixes)
    while value >= 999.5:
        value, prefix = value / 1000, next(prefixes)
    return f"{value:.3g} {prefix}"
