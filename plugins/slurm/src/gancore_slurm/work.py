"""What a job does: it runs a command line in its process, and has its job queue again where a signal ended that."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from typing import Any

import attrs

STOPPED = 130
"""Exit status of a command that a signal has ended after its state was saved."""


@attrs.frozen
class Work:
    """A command line, as submitit stores and runs it.

    Attributes:
        words: The words behind ``gancore``.
        folder: Where it is run.
    """

    words: tuple[str, ...]
    folder: str

    def __call__(self) -> int:
        """Run it, and return its exit status; where a signal has ended it, have the job queue again, unless it is canceled."""
        os.chdir(self.folder)
        # Between trainings, which hear signals themselves; submitit takes no note of this one.
        signal.signal(signal.SIGTERM, _stop)
        status = _run(self.words)
        if status == STOPPED and not _canceled():
            from submitit import JobEnvironment

            signal.raise_signal(getattr(signal, f"SIG{JobEnvironment.USR_SIG}"))
        return status

    def checkpoint(self) -> Any:
        """Return what the job does when it has queued again: the same, which goes on where the runs stand."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _run(words: tuple[str, ...]) -> int:
    before, sys.argv = sys.argv, ["gancore", *words]
    try:
        runpy.run_module("gancore", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return 0


def _stop(*_: object) -> None:
    sys.exit(STOPPED)


def _canceled() -> bool:
    """Return whether Slurm ends this job for good, as who cancels it wants."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return False
    command = ["squeue", "--noheader", "--job", job, "--format", "%T"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return False
    return told not in ("", "RUNNING")
