"""What accelerators need of a machine, for ``gancore doctor``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

NONE = "there is none here"


def needs() -> Iterator[str]:
    """Yield a line for each accelerator: what it needs, and whether that is here."""
    import torch

    compiler = shutil.which(os.environ.get("CXX", "")) or shutil.which("g++") or shutil.which("clang++")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    yield f"profile/compile needs a C++ compiler: {compiler or NONE}"
    yield f"profile/cuda-graphs needs a GPU: {gpu or NONE}"
    yield "profile/cpu-graphs pays on a CPU, where networks are small"
