"""Several processes that something else than ``torchrun`` started: those of ``srun`` are told what torchrun would tell them.

Imports no torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from gancore import GancoreError

SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
"""Where MPI's launchers say how many processes they have started."""

RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK")
"""Where launchers number the processes that they have started."""


def meet_as_launched() -> None:
    """Give this process the environment that torchrun gives, where srun has started it beside others.

    Called before anything looks whether there are several processes. A batch script's own process, and a step of one task, are
    single processes, whatever their allocation could hold.

    Raises:
        GancoreError: Another launcher has started it as one of several, which would all train alone.
    """
    if "WORLD_SIZE" not in os.environ:
        _refuse_strangers(os.environ)
        os.environ.update(_of_srun(os.environ))


def _of_srun(environment: Mapping[str, str]) -> dict[str, str]:
    """Return torchrun's variables for a task of a step; none where the step has one task, or there is no step."""
    size = environment.get("SLURM_STEP_NUM_TASKS") or "1"
    if size == "1":
        return {}
    rank = environment.get("SLURM_PROCID", "")
    if not (size.isdecimal() and rank.isdecimal() and int(rank) < int(size)):
        # As in a shell that another step has left its variables to; all that it starts would wait for tasks that there are not.
        raise GancoreError(
            f"the environment has SLURM_STEP_NUM_TASKS {size!r} and SLURM_PROCID {rank!r}, which no task of srun has; unset "
            "them, or start all by srun."
        )
    nodes = environment.get("SLURM_STEP_NODELIST", "")
    number = int(re.sub(r"\D", "", environment.get("SLURM_JOB_ID", "")) or 0)
    step = int(re.sub(r"\D", "", environment.get("SLURM_STEP_ID", "")) or 0)
    local = environment.get("SLURM_LOCALID", "0")
    # A task to which its own GPU alone is shown knows that one as the first.
    alone = re.fullmatch(r"[^,]+", environment.get("CUDA_VISIBLE_DEVICES", "")) is not None
    usual = {
        "MASTER_ADDR": _first_of(nodes) if environment.get("SLURM_STEP_NUM_NODES") != "1" else "127.0.0.1",
        # Below the ports that systems give out by themselves; the steps of a job beside each other have others.
        "MASTER_PORT": str(10_000 + (13 * number + step) % 20_000),
        "LOCAL_WORLD_SIZE": re.split(r"\D", environment.get("SLURM_STEP_TASKS_PER_NODE", "") or "1")[0],
    }
    own = {"WORLD_SIZE": size, "RANK": rank, "LOCAL_RANK": "0" if alone else local}
    return own | {name: environment.get(name, value) for name, value in usual.items()}


def _first_of(nodes: str) -> str:
    """Return the first of Slurm's list of nodes: ``gpu07`` of ``gpu[07-09,12],login``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0] if first else "") or "127.0.0.1"


def _refuse_strangers(environment: Mapping[str, str]) -> None:
    """Refuse to be one of several that don't know of each other.

    MPI's launchers start their own helpers by srun, so what they say counts where it is not what Slurm says.
    """
    tasks = environment.get("SLURM_STEP_NUM_TASKS")
    ranked = [name for name in RANKS if environment.get(name, "0") != "0"] if tasks is None else []
    for name in (*(name for name in SIZES if environment.get(name, tasks or "1") != (tasks or "1")), *ranked):
        raise GancoreError(
            f"this process is one of several ({name} is {environment[name]!r}), and nothing says where they meet; start them "
            "by torchrun or srun, or set WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT for each."
        )
