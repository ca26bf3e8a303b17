"""Runs an input, and says what is wrong with how it ends."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from click.testing import CliRunner, Result

import gancore.registry
from gancore.cli import main
from gancore.registry import Registry, discovery
from tests.fuzz.inputs import Input

LONGEST = 10
"""Seconds that an input may take."""

MOST = 400
"""Characters that a sentence may have."""


class Hangs(BaseException):
    """A command did not end in time."""


def verdict(made: Input, *, show: bool = False) -> str:
    """Run an input in the working folder; return what is wrong with how it ends, or an empty text."""
    try:
        with _installed(made), _in_time():
            done = CliRunner().invoke(main.main, made.words)
        if show:
            print(made, done.output, sep="\n")
    except Hangs:
        return f"hangs: {_place(sys.exc_info()[2])}"
    except BaseException as error:
        return f"traceback: {type(error).__name__} {_place(sys.exc_info()[2])}"
    if isinstance(done.exception, Hangs):
        return f"hangs: {_place(done.exc_info[2] if done.exc_info else None)}"
    return _of(made, done)


def _of(made: Input, done: Result) -> str:
    if Path("harm").exists():
        return "runs code that an input holds"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        where = _place(done.exc_info[2] if done.exc_info else None)
        return f"traceback: {type(done.exception).__name__}: {done.exception!s:.200} {where}"
    if unprintable := {each for each in done.output if not each.isprintable() and each not in "\n\r"}:
        return f"prints {unprintable}: {done.output[-200:]!r}"
    if done.exit_code == 0:
        return "accepted" if made.wrong else ""
    errors = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    if done.exit_code not in (1, 2) or (done.exit_code == 1 and made.words[0] != "doctor"):
        return f"exit status {done.exit_code}: {done.output[-200:]!r}"
    if len(errors) != 1:
        return f"{len(errors)} sentences: {done.output[-300:]!r}"
    if len(errors[0]) > MOST + len("Error: "):
        return f"a sentence of {len(errors[0])} characters: {errors[0][:200]!r}"
    return ""


def _place(trace: object) -> str:
    frames = [frame for frame in traceback.extract_tb(trace) if "gancore" in frame.filename]  # type: ignore[arg-type]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:]))


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Raise `Hangs` in the block each second from when its time is over."""

    def late(*_: object) -> None:
        raise Hangs

    def watch() -> None:
        wait = float(LONGEST)
        while not ended.wait(wait):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGVTALRM)
            wait = 1.0

    # Neither trainings nor discovery listen to this signal.
    before, ended = signal.signal(signal.SIGVTALRM, late), threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        signal.signal(signal.SIGVTALRM, before)


@contextlib.contextmanager
def _installed(made: Input) -> Iterator[None]:
    """Let the command line see an input's plugin beside those that are installed."""
    if made.plugin is None:
        yield
        return
    usual, cwd, path, environment = gancore.registry.registry(), Path.cwd(), list(sys.path), dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        name = f"stranger_{made.seed}"
        (Path(folder) / f"{name}.py").write_text(made.plugin, encoding="utf-8", errors="replace")
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
        discover = Registry.discover
        points = [metadata.EntryPoint("stranger", name, "gancore")]
        plugins = discovery.discover
        try:
            Registry.discover = classmethod(lambda cls: cls([*usual.plugins(), *plugins(points)]))  # type: ignore[method-assign, assignment]
            gancore.registry.registry.cache_clear()
            yield
        finally:
            Registry.discover = discover  # type: ignore[method-assign]
            gancore.registry.registry.cache_clear()
            sys.path[:] = path
            sys.modules.pop(name, None)
            os.chdir(cwd)
            assert dict(os.environ) == environment
