"""Keep freed memory. A training step frees and asks for the same large blocks again and again.

glibc hands blocks above 128 KiB back to the kernel at once, and every new one is then filled page by page: measured as a
quarter of the time of a step on a CPU. Raising two thresholds keeps the blocks in the process.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD = -1
_TOP_PAD = -2
_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Make glibc's allocator keep what is freed; return whether it took effect. Variables ``MALLOC_*`` of the user win."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    largest = 2**31 - 1
    return all(mallopt(*pair) for pair in ((_MMAP_THRESHOLD, 2**30), (_TRIM_THRESHOLD, largest), (_TOP_PAD, 2**26)))
