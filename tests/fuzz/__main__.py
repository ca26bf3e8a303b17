"""Run inputs of the fuzzer: ``python -m tests.fuzz --inputs 2000``; every number makes the same input again, ``--only 17``."""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter

import click

from tests.fuzz import KINDS, SHARES
from tests.fuzz.running import judged

MEMORY = 12 * 2**30
"""Bytes of address space, so that an input that asks for all memory is refused by the system and not by its end."""


@click.command()
@click.option("--inputs", default=2000, show_default=True, help="How many inputs.")
@click.option("--start", default=0, show_default=True, help="Number of the first.")
@click.option("--only", type=int, help="This input alone, with what it prints.")
@click.option("--kind", "kinds", type=click.Choice(list(KINDS)), multiple=True, help="These kinds alone.")
def main(inputs: int, start: int, only: int | None, kinds: tuple[str, ...]) -> None:
    """Make inputs, run them, and print what is wrong with how they end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    SHARES.update({kind: 0 for kind in KINDS if kinds and kind not in kinds})
    begun, counts, wrong = time.monotonic(), Counter[str](), 0
    for seed in [only] if only is not None else range(start, start + inputs):
        made, problem, seconds = judged(seed, show=only is not None)
        counts[made.kind] += 1
        if problem:
            wrong += 1
            print(
                f"{seed} {made.kind} ({seconds:.1f} s): {made.about}; {' '.join(made.words)!r:.200}\n    {problem}", flush=True
            )
    print(f"{dict(counts)}: {wrong} wrong, {time.monotonic() - begun:.0f} s")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
