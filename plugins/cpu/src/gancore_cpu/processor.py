"""Which way of computing gradients of convolutions a processor is fast at, by what it reports: nothing is timed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

Way = Literal["fold", "product", "off"]
"""How weight gradients of layers with small maps are computed: as the same convolution over maps that lie side by side, as one
product of matrices, or as the library does; in the first two, bias gradients of transposed convolutions are sums."""

ABOUT: dict[Way, str] = {
    "fold": "on (fold), for the processor has AMX",
    "product": "on (product), for the processor has AVX-512 with bfloat16 and no AMX",
    "off": "off: the processor reports neither AMX nor AVX-512 with bfloat16, and nobody has measured another",
}


def way_of_this_processor() -> Way:
    """Return the way that pays on this processor, as far as it has been measured on its kind.

    The two were measured on one processor each (see the plugin's README); one that reports neither is left alone.
    """
    if not torch.backends.mkldnn.is_available():
        return "off"
    if _reports("_is_amx_tile_supported"):
        return "fold"
    return "product" if _reports("_is_avx512_bf16_supported") else "off"


def _reports(question: str) -> bool:
    """Return torch's answer to a question about the processor, False where this torch doesn't know it."""
    answer: Callable[[], bool] = getattr(torch.cpu, question, lambda: False)
    return bool(answer())
