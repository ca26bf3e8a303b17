"""Submitting jobs through submitit, each of which runs the same command line, and looking how those before are."""

from __future__ import annotations

import getpass
import json
import math
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import attrs
from gancore_training import holding

from gancore import GancoreError
from gancore.tools import first_line, plain, write_text
from gancore_slurm.work import Work

HOURS = 4.0
"""Time of a job that nobody has said; what is not done by then is saved, and the job queues again."""

WARNED = 120
"""Seconds before the end of a job's time in which it saves its run."""

REQUEUES = 1000
"""How often a job may queue again when its time is over."""


@attrs.frozen
class Job:
    """A submitted job.

    Attributes:
        cluster: ``slurm``, or ``local`` for a process here.
        id: Its number there: of an array ``ARRAY_TASK``.
    """

    cluster: str
    id: str


def slurm(
    words: Sequence[str],
    *,
    folder: Path,
    number: int | None,
    pending: int,
    gpus: int = 0,
    hours: float = HOURS,
    partition: str | None = None,
    **further: str,
) -> Generator[str, None, bool]:
    """Have jobs of Slurm run a command; what runs or waits from before counts. Returns at once.

    Args:
        words: The words behind ``gancore``.
        folder: Where the runs lie; their output goes to ``jobs`` in it, which all nodes must see.
        number: How many jobs there shall be; None for one for each run that waits.
        pending: How many runs are not done.
        gpus: GPUs of each job.
        hours: Time of each job. Two minutes before its end it saves its run and queues again.
        partition: The cluster's partition.
        further: Further options of ``sbatch``, e.g. ``account``.

    Raises:
        GancoreError: There is no Slurm here, or it refuses.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise GancoreError(
            "there is no Slurm on this machine (no sbatch, or no srun); ask on the cluster, or train --on local:4."
        )
    options = {"slurm_partition": partition, "slurm_additional_parameters": further or None}
    return (yield from _jobs("slurm", words, folder, min(number or pending, pending), gpus, hours, options))


def submitit(
    words: Sequence[str], *, folder: Path, number: int | None, pending: int, gpus: int = 0, hours: float = HOURS
) -> Generator[str, None, bool]:
    """Have jobs run a command where submitit finds a cluster, and otherwise processes of this machine; see `slurm`."""
    cluster = "local" if shutil.which("srun") is None else "slurm"
    return (yield from _jobs(cluster, words, folder, min(number or pending, pending), gpus, hours, {}))


def _jobs(
    cluster: str, words: Sequence[str], folder: Path, number: int, gpus: int, hours: float, options: dict[str, Any]
) -> Generator[str, None, bool]:
    place = folder.absolute() / "jobs"
    with holding(place):
        states = _living(place)
        lacking = number - len(states)
        if lacking > 0:
            jobs = _submitted(cluster, words, place, lacking, gpus, hours, options)
            _write(place, [*states, *jobs])
            ids = f"{', '.join(job.id for job in jobs[:3])}{', ...' * (lacking > 3)}"
            yield f"submitted {lacking} job{'s' * (lacking > 1)}: {ids}"
    counts = Counter(states.values())
    before = ", ".join(f"{count} {state.lower()}" for state, count in sorted(counts.items()))
    yield f"jobs from before: {before or 'none'}; what they say is in {place}"
    return True


def _submitted(
    cluster: str, words: Sequence[str], place: Path, number: int, gpus: int, hours: float, options: dict[str, Any]
) -> list[Job]:
    from submitit import AutoExecutor

    try:
        executor = AutoExecutor(place, cluster, slurm_max_num_timeout=REQUEUES, local_max_num_timeout=REQUEUES)
        executor.update_parameters(
            name="gancore",
            nodes=1,
            tasks_per_node=1,
            gpus_per_node=gpus or None,
            timeout_min=math.ceil(60 * hours),
            slurm_signal_delay_s=WARNED,
            slurm_array_parallelism=number,
            **options,
        )
        work = Work(tuple(words), str(Path.cwd()))
        with executor.batch():
            jobs = [executor.submit(work) for _ in range(number)]
        return [Job(cluster, job.job_id) for job in jobs]
    except (RuntimeError, OSError, AssertionError, subprocess.SubprocessError, ValueError) as error:
        why = plain(getattr(error, "stderr", None) or first_line(error)).strip()
        raise GancoreError(f"the jobs can't be submitted: {why[:200]}; change --partition, --hours or --job.") from error


def _living(place: Path) -> dict[Job, str]:
    """Return the jobs that were submitted before and have not ended, with what they do."""
    jobs = _read(place)
    queue = _queue() if any(job.cluster == "slurm" for job in jobs) else {}
    states = {job: queue.get(job.id, "") if job.cluster == "slurm" else _local(place, job) for job in jobs}
    return {job: state for job, state in states.items() if state}


def _queue() -> dict[str, str]:
    """Return the states of a user's jobs that Slurm runs, or will run.

    Raises:
        GancoreError: It does not say.
    """
    command = ["squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format", "%i %T"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        why = (getattr(error, "stderr", None) or first_line(error)).strip()
        raise GancoreError(f"squeue does not say how the jobs are ({plain(why)[:200]}); ask again later.") from error
    pairs = (line.split() for line in told.splitlines())
    return {pair[0]: plain(pair[1]) for pair in pairs if len(pair) == 2}


def _local(place: Path, job: Job) -> str:
    """Return what a process of this machine does, empty where it has ended; its result is not read."""
    if (place / f"{job.id}_0_result.pkl").exists():
        return ""
    try:
        os.kill(int(job.id), 0)
    except (OSError, ValueError):
        return ""
    return "RUNNING"


def _read(place: Path) -> list[Job]:
    try:
        entries = json.loads((place / "jobs.json").read_text(encoding="utf-8"))
        return [Job(str(entry["cluster"]), str(entry["id"])) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _write(place: Path, jobs: Sequence[Job]) -> None:
    write_text(place / "jobs.json", json.dumps([attrs.asdict(job) for job in jobs], indent=2) + "\n")
