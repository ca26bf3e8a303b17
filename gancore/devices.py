"""Which device and which precision a run computes with."""

from __future__ import annotations

from pathlib import Path

import torch

from gancore import distributed
from gancore.errors import GancoreError


def choose_device(name: str) -> torch.device:
    """Return the device that a name means; ``auto`` takes a CUDA GPU where there is one, and each process one of its own.

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
    return device


def choose_precision(setting: str, device: torch.device) -> str:
    """Return ``float32`` or ``bfloat16``; ``auto`` takes bfloat16 where the hardware has instructions for it."""
    if setting != "auto":
        return setting
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if _computes_bfloat16() else "float32"


def _computes_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
