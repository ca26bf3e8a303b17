"""Keep freed memory. A training step frees and asks for the same large blocks again and again.

glibc hands blocks above 128 KiB back to the kernel at once, and every new one is then filled page by page: measured as a
quarter of the time of a step on a CPU. Raising two thresholds keeps the blocks in the process. That is the whole process's
concern, so commands do it, and functions that are called from Python do not.
"""

from __future__ import annotations

import ctypes
import os
import sys


def keep_freed_memory() -> bool:
    """Make glibc's allocator keep what is freed; return whether it took effect. Variables ``MALLOC_*`` of the user win."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    mmap_threshold, trim_threshold, top_pad = -3, -1, -2  # as malloc.h numbers them
    return all(mallopt(*pair) for pair in ((mmap_threshold, 2**30), (trim_threshold, 2**31 - 1), (top_pad, 2**26)))
