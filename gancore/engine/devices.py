"""Which device and which precision a run computes with."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

import torch

from gancore.errors import GancoreError
from gancore.parallel import distributed


def choose_device(name: str) -> torch.device:
    """Return the device that a name means, a GPU by its number; ``auto`` takes one where there is one, each process its own.

    Raises:
        GancoreError: No such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and distributed.planned_size() > 1:
        name = f"cuda:{distributed.local_rank()}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise GancoreError(f"--device {name!r} is no device; use auto, cpu, cuda, or cuda:N.") from error
    if device.type not in ("cpu", "cuda"):
        raise GancoreError(f"--device {name!r} is not supported; use auto, cpu, cuda, or cuda:N.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise GancoreError(
            f"--device {name!r} asks for a CUDA GPU, but torch {torch.__version__} finds none; use --device cpu."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        remedy = "; start no more processes on it than that" if distributed.planned_size() > 1 else ""
        raise GancoreError(f"--device {name!r} does not exist: this machine has {torch.cuda.device_count()} CUDA GPUs{remedy}.")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def processor() -> str:
    """Return the processor's name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(name: str) -> str:
    """Return what Linux says of the first processor under a name, or nothing."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="ignore").splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return ""


def choose_precision(setting: str, device: torch.device) -> tuple[str, str]:
    """Return what a recipe's setting means here, ``float32`` or ``bfloat16``, and who chose it.

    ``auto`` takes bfloat16 where the hardware has instructions for it, and float32 elsewhere. A stopwatch would not do: by what
    else a machine does that day, one recipe would compute in two precisions. Of several processes rank 0 chooses.
    """
    if setting != "auto":
        return setting, "as the recipe says"
    chosen: tuple[str, str] = distributed.on_rank_zero(lambda: _precision_of(device))
    return chosen


def _precision_of(device: torch.device) -> tuple[str, str]:
    supported = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else _computes_bfloat16()
    what = f"the {'GPU' if device.type == 'cuda' else 'processor'} has"
    return ("bfloat16", f"{what} instructions for it") if supported else ("float32", f"{what} no instructions for bfloat16")


def _computes_bfloat16() -> bool:
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(_cpuinfo("flags").split())
