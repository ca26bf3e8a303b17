"""Which device and which precision a run computes with."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional as F

from gancore.errors import GancoreError
from gancore.files import cache_root, write_text
from gancore.parallel import distributed

WORTH = 1.1
"""Gain from which bfloat16 is worth its fewer digits."""

REPETITIONS = 6


class Precision(NamedTuple):
    """What networks compute in.

    Attributes:
        name: ``float32`` or ``bfloat16``.
        why: Who chose it.
    """

    name: str
    why: str


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


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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


def choose_precision(setting: str, device: torch.device) -> Precision:
    """Return what a recipe's setting means here.

    ``auto`` takes bfloat16 where the hardware has instructions for it and a convolution, forward and backward, is faster by
    `WORTH`. That is measured once for a machine, a number of threads and a version of torch, and kept in ``GANCORE_CACHE``, so
    that the choice does not change from run to run; of several processes rank 0 chooses.
    """
    if setting != "auto":
        return Precision(setting, "as the recipe says")
    return Precision(*distributed.on_rank_zero(lambda: _chosen(device)))


def _chosen(device: torch.device) -> tuple[str, str]:
    supported = torch.cuda.is_bf16_supported() if device.type == "cuda" else _computes_bfloat16()
    if not supported:
        return "float32", f"the {'GPU' if device.type == 'cuda' else 'processor'} has no instructions for bfloat16"
    gain = _kept_gain(device)
    if gain < WORTH:
        return "float32", f"convolutions in bfloat16 are only {gain:.2f} times as fast here"
    return "bfloat16", f"convolutions are {gain:.1f} times as fast as in float32 here"


def _kept_gain(device: torch.device) -> float:
    """Return how many times as fast bfloat16 is, as it was measured for this machine."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    threads = "" if device.type == "cuda" else f", {torch.get_num_threads()} threads"
    key, path = f"{name}{threads}, torch {torch.__version__}", cache_root() / "precision.json"
    try:
        gains = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        gains = {}
    gains = gains if isinstance(gains, dict) else {}
    if not isinstance(gains.get(key), float):
        gains[key] = _measured_gain(device)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(gains, indent=1) + "\n")
    gain: float = gains[key]
    return gain


def _measured_gain(device: torch.device) -> float:
    """Return the time of a convolution, forward and backward, in float32 over that in bfloat16; the best of some each."""
    best: dict[torch.dtype, float] = {}
    with torch.enable_grad():
        for _ in range(REPETITIONS):
            # In turns, so that what else the machine does slows both.
            for dtype in (torch.float32, torch.bfloat16):
                best[dtype] = min(best.get(dtype, math.inf), _convolution_seconds(device, dtype))
    return best[torch.float32] / best[torch.bfloat16]


def _convolution_seconds(device: torch.device, dtype: torch.dtype) -> float:
    images = torch.ones(128 if device.type == "cuda" else 8, 128, 16, 16, device=device, dtype=dtype)
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    kernels = torch.ones(128, 128, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    inputs = [images, kernels.requires_grad_()]
    synchronize(device)
    started = time.perf_counter()
    torch.autograd.grad(F.conv2d(images, kernels, padding=1).sum(), inputs)
    synchronize(device)
    return time.perf_counter() - started


def _computes_bfloat16() -> bool:
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(_cpuinfo("flags").split())
