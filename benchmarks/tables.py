"""What the benchmarks share: the machine they ran on, tables, and results as JSON."""

from __future__ import annotations

import json
import math
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import gancore
from gancore.engine import processor
from gancore.files import write_text


def machine() -> dict[str, Any]:
    """Return what a figure depends on."""
    return {
        "processor": processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gancore": gancore.__version__,
    }


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def mean_and_deviation(values: Sequence[float], digits: int = 3) -> str:
    """Return ``mean ± sample deviation``; the value alone where there is one."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    if any(math.isnan(value) for value in values):
        return "nan"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def write_json(path: Path, results: Any) -> None:
    """Write results with the machine that they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(f"written to {path}")
