"""Two processes compute what one does: every part of a plugin, in one pair of processes that the first such case starts."""

from __future__ import annotations

import importlib
import multiprocessing
import socket
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import gancore_standard
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, TCPStore

import gancore.testing.host as host
from gancore.engine import Run
from gancore.files import read_tensors, write_tensors
from gancore.parallel import distributed
from gancore.plan import make_plan
from gancore.recipe import Registry, check_table
from gancore.testing.stepping import HostTable, build_host

SIZE = 2
STEPS = 3
TOLERANCE = 1e-3
PATIENCE = timedelta(seconds=60)
"""How long a process waits for the other in a collective."""

LONGEST = 600.0
"""Seconds that all parts of a plugin may take together."""

# Adam turns gradients that are 0 but for rounding into whole steps; plain descent keeps rounding as small as it is.
SGD: dict[str, Any] = {"lr": 0.05, "momentum": 0.9}


def shared_table(table: HostTable, registry: Registry) -> HostTable:
    """Return a host that two processes can share: an even batch, and plain descent for each of its players."""
    table = table.with_run(batch_size=8)
    for player in make_plan(check_table(table.table, registry, name="conformance"), registry).players:
        table = table.with_part("optimizers", player, "sgd", **SGD)
    return table


def outcome(run: Run) -> dict[str, Tensor]:
    """Step a run; return what it began with, what it ended with, and each iteration's losses, averaged over processes."""
    found = {f"before/{name}": value.detach().clone() for name, value in _state(run).items()}
    losses: dict[str, list[Tensor]] = {}
    for _ in range(STEPS):
        run.step()
        for name, value in run.losses.items():
            losses.setdefault(name, []).append(distributed.global_mean(value))
    found |= {f"after/{name}": value.detach().clone() for name, value in _state(run).items()}
    return found | {f"losses/{name}": torch.stack(values) for name, values in losses.items()}


def _state(run: Run) -> dict[str, Tensor]:
    # What an optimizer remembers is in what it has done to the parameters.
    return {name: value for name, value in run.tensors().items() if not name.startswith("optimizer.")}


def differences(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> list[str]:
    """Return which tensors of two processes' outcome are further from one's than rounding can bring them, and how far.

    A loss is measured by its largest value, a tensor of the state by how far it has come since the start.
    """
    if one.keys() != two.keys():
        return [f"{name} (in one of them alone)" for name in sorted(one.keys() ^ two.keys())]
    far = []
    for name, value in one.items():
        a, b = value.double(), two[name].double()
        if a.shape != b.shape:
            far.append(f"{name} ({tuple(a.shape)} and {tuple(b.shape)})")
            continue
        if not a.numel():
            continue
        size = float(a.abs().max())
        kind, _, rest = name.partition("/")
        moved = float((a - one[f"before/{rest}"].double()).abs().max()) if kind == "after" else 0.0
        # Below these, a tensor's own rounding is what is compared.
        scale = max(size, 0.1) if kind == "losses" else max(moved, 1e-3 * max(size, 1.0))
        apart = float((a - b).abs().max()) / scale
        if not apart <= TOLERANCE:
            far.append(f"{name} (by {apart:.1g} of its {'size' if kind == 'losses' else 'way'})")
    return far


def problem_of(found: Mapping[str, Tensor] | str, one: Mapping[str, Tensor]) -> str | None:
    """Return why an outcome of two processes is not that of one, as a sentence for the author, or None."""
    if isinstance(found, str):
        return f"two processes fail where one does not: {found}"
    far = differences(one, found)
    if not far:
        return None
    return (
        f"two processes do not compute what one does; they differ in {', '.join(far)}. A loss that is not a mean over images "
        "goes through gancore.global_mean or gancore.gather; what is drawn for each image comes from gancore.rand or "
        "gancore.randn; a buffer with a row for each image is named in per_image."
    )


@attrs.define
class TwoProcesses:
    """The outcomes of some hosts in a pair of processes, which are started when the first one is asked for.

    Args:
        plugin: Name of the plugin under test.
        module: Its declaring module.
        tables: What builds each host, by case.
    """

    plugin: str
    module: ModuleType
    tables: Mapping[str, Callable[[], HostTable]]
    _outcomes: dict[str, dict[str, Tensor] | str] | None = None

    def check(self, case: str) -> str | None:
        """Return why a case's outcome is not that of one process, or None."""
        one = outcome(build_host(self.tables[case](), _registry(self.plugin, self.module)))
        if self._outcomes is None:
            self._outcomes = self._run()
        return problem_of(self._outcomes[case], one)

    def _run(self) -> dict[str, dict[str, Tensor] | str]:
        built: list[HostTable | None] = []
        for build in self.tables.values():
            try:
                built.append(build())
            except Exception:
                # Its own case builds it first, and says what is wrong.
                built.append(None)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ended = _run_together(self.plugin, self.module.__name__, built, folder)
            return {case: _outcome_in(folder, number, ended) for number, case in enumerate(self.tables)}


def _run_together(plugin: str, module: str, tables: Sequence[HostTable | None], folder: Path) -> str:
    """Run the pair of processes to its end; return how they ended."""
    # A server that has imported torch once forks the pairs of all plugins; it has no threads that a fork could leave behind.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    # What the first optimizer of a process would import.
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        context.Process(target=_write_outcomes, args=(rank, port, plugin, module, tables, folder), daemon=True)
        for rank in range(SIZE)
    ]
    for process in started:
        process.start()
    until = time.monotonic() + LONGEST
    for process in started:
        process.join(max(0.0, until - time.monotonic()))
    ended = " and ".join("late" if process.is_alive() else f"status {process.exitcode}" for process in started)
    for process in started:
        process.kill()
        process.join()
        process.close()
    return ended


def _outcome_in(folder: Path, number: int, ended: str) -> dict[str, Tensor] | str:
    # The one that failed by itself says why, before it leaves; the other has only lost it.
    texts = [(path.stat().st_mtime_ns, path.read_text()) for path in sorted(folder.glob(f"{number}.*.txt"))]
    if texts:
        return min(texts, key=lambda found: (distributed.ProcessLost.__name__ in found[1], found[0]))[1]
    path = folder / f"{number}.safetensors"
    return read_tensors(path)[0] if path.exists() else f"they ended before its turn was over, with {ended}"


def _registry(plugin: str, module: ModuleType) -> Registry:
    return Registry.of({"standard": gancore_standard, "host": host, plugin: module})


def _write_outcomes(rank: int, port: int, plugin: str, module: str, tables: Sequence[HostTable | None], folder: Path) -> None:
    """Be one of the processes: write the outcome of each host, or why there is none."""
    torch.set_num_threads(1)
    registry = _registry(plugin, importlib.import_module(module))
    store = TCPStore("127.0.0.1", port, SIZE, rank == 0, timeout=PATIENCE)
    for number, table in enumerate(tables):
        if table is None:
            continue
        # Each has a group of its own: where one process fails, its leaving frees the other from a collective that the two
        # would never finish, and both go on with the next.
        group = PrefixStore(str(number), store)
        dist.init_process_group("gloo", store=group, rank=rank, world_size=SIZE, timeout=PATIENCE)
        try:
            found = outcome(build_host(table, registry))
            if rank == 0:
                write_tensors(folder / f"{number}.safetensors", found, {})
        except BaseException as error:
            (folder / f"{number}.{rank}.txt").write_text(_described(error))
        finally:
            dist.destroy_process_group()
    # Rank 0 keeps the store, so it leaves last.
    if rank == 0:
        store.wait([f"done/{other}" for other in range(1, SIZE)], PATIENCE)
    else:
        store.set(f"done/{rank}", "")


def _described(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"
