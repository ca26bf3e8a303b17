"""Where the runs of a table are trained: `--on EXECUTOR[:N]`, by executors that plugins bring, and `local`, processes here.

An executor has several processes run the same command line, without `--on`; these share the runs among themselves, so it knows
nothing of runs. Imports no torch.
"""

from __future__ import annotations

import inspect
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from gancore import GancoreError
from gancore.tools import Registry, listed, plain, registry, say

F = TypeVar("F", bound=Callable[..., Any])

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
"""What ends a training after its state was saved, beside Ctrl-C, which a terminal sends to all processes itself."""


OPTIONS = ("gpus", "hours", "partition")
"""Settings that have options of their own."""

OURS = ("folder", "number", "pending")
"""What every executor is told anyway."""


@attrs.frozen
class Executor:
    """An executor as it is asked for.

    Attributes:
        name: Its name.
        number: Processes that it is to have run; None for as many as it thinks right.
        settings: What else it was told, by name.
        call: What the plugin declares.
    """

    name: str
    number: int | None
    settings: Mapping[str, Any]
    call: Callable[..., Generator[str, None, bool | None]]

    def words(self) -> list[str]:
        """Return the words of a command line that ask for it."""
        named = [word for key in OPTIONS if key in self.settings for word in (f"--{key}", str(self.settings[key]))]
        further = [f"{key}={value}" for key, value in self.settings.items() if key not in OPTIONS]
        on = self.name if self.number is None else f"{self.name}:{self.number}"
        return ["--on", on, *named, *(word for text in further for word in ("--job", text))]

    def run(self, words: Sequence[object], folder: Path, pending: int) -> bool:
        """Have processes run ``gancore WORDS``, which share runs in a folder, of which some wait; say what they are said to do.

        Returns:
            Whether they go on, so that asking again tells more.
        """
        if not pending:
            return False
        lines = self.call([str(word) for word in words], folder=folder, number=self.number, pending=pending, **self.settings)
        while True:
            try:
                say(next(lines))
            except StopIteration as end:
                return bool(end.value)


def executor_options(command: F) -> F:
    """Add ``--on`` and what goes with it, as `executor_of` takes them, and ``--retry``."""
    for option in reversed(
        (
            click.option(
                "--on", metavar="EXECUTOR[:N]", help="Train in N processes: local:4, on this machine; slurm, as jobs."
            ),
            click.option("--gpus", type=click.IntRange(0), metavar="N", help="With --on: GPUs of each job."),
            click.option("--hours", type=click.FloatRange(0, min_open=True), metavar="H", help="With --on: time of a job."),
            click.option("--partition", metavar="NAME", help="With --on: partition of the cluster."),
            click.option("--job", metavar="KEY=VALUE", multiple=True, help="With --on: a further setting of each job."),
            click.option("--retry", is_flag=True, help="Train runs again that failed."),
        )
    ):
        command = option(command)
    return command


def executor_of(on: str | None, plugins: Registry | None = None, **settings: Any) -> Executor | None:
    """Return the executor that options ask for; None where they ask for none.

    Raises:
        GancoreError: There is no such executor, or it does not take one of the settings.
    """
    further = dict(_setting(text) for text in settings.pop("job", ()))
    told = {name: value for name, value in settings.items() if value is not None} | further
    if on is None:
        for key in told:
            raise GancoreError(
                f"{'--job ' if key in further else '--'}{key} is for jobs; name an executor by --on, or leave it out."
            )
        return None
    name, colon, number = on.partition(":")
    if colon and not re.fullmatch("[1-9][0-9]{0,3}", number):
        raise GancoreError(f"--on {on!r} asks for no number of processes; write e.g. --on {name}:4.")
    plugins = plugins or registry()
    call = plugins.load(plugins.component("executor", name, "--on"))
    taken = inspect.signature(call).parameters
    for key in further:
        if key in OPTIONS or key in (*OURS, next(iter(taken), "")):
            raise GancoreError(f"--job {key} is not for you to set; {f'say --{key}' if key in OPTIONS else 'leave it out'}.")
    takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values())
    for key in told:
        if key not in taken and not takes_all:
            raise GancoreError(f"the executor {name} takes no {key}; leave it out.")
    return Executor(name, int(number) if number else None, told, call)


def local(
    words: Sequence[str],
    *,
    folder: Path,
    number: int | None,
    pending: int,
) -> Generator[str, None, bool | None]:
    """Have processes of this machine run a command, and wait for them; yield what they say, after the number of each.

    Without a number there is one for each GPU, or for each two cores. With GPUs, each process sees one, in turn; the cores are
    shared out as threads, unless ``OMP_NUM_THREADS`` is set.
    """
    cores, gpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, _gpus()
    number = min(number or len(gpus) or max(cores // 2, 1), pending)
    processes = []
    for place in range(number):
        own = {"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if gpus else {}
        environment = {"OMP_NUM_THREADS": str(max(cores // number, 1)), **os.environ, **own}
        command = [sys.executable, "-m", "gancore_report.attached", *words]
        processes.append(
            subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
        )
    try:
        yield f"{number} processes train into {folder}"
        with _heard():
            yield from _said(processes)
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            process.wait()
            if process.stdin:
                process.stdin.close()
    return False


def _said(processes: Sequence[subprocess.Popen[str]]) -> Iterator[str]:
    """Yield the lines of processes as they come, until all have ended."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read(place: int, process: subprocess.Popen[str]) -> None:
        for line in process.stderr or ():
            lines.put(f"[{place}] {plain(line.rstrip())}")
        if process.stderr:
            process.stderr.close()
        lines.put(None)

    for place, process in enumerate(processes, 1):
        threading.Thread(target=read, args=(place, process), daemon=True).start()
    ended = 0
    while ended < len(processes):
        line = lines.get()
        if line is None:
            ended += 1
        else:
            yield line


class _heard:  # noqa: N801 - reads as a verb
    """Has signals that tell a training to save and stop end the block as Ctrl-C does."""

    def __enter__(self) -> None:
        here = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.getsignal(number) for number in SIGNALS if here}
        for number in self._before:
            signal.signal(number, _interrupt)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _gpus() -> list[str]:
    """Return what ``CUDA_VISIBLE_DEVICES`` calls the GPUs that there are."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [name for name in shown.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    # A line break would begin a line of its own in the script of a job.
    if not equals or not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", key) or not value.isprintable():
        raise GancoreError(f"--job {text!r} is no setting; write KEY=VALUE, e.g. {listed(['account=lab'])}.")
    return key.replace("-", "_"), value
