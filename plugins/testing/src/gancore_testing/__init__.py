"""The conformance suite for plugin authors: three lines in a plugin's tests run everything that core asks of it.

::

    from gancore.testing import conformance

    test_conformance = conformance("r1")

Each check is a test of its own. Loss terms, heads, samplers, latents, attacks and loops train in a host of tiny networks,
resume bit-exactly, mix no tensors of the CPU and of a GPU, and two gloo processes compute with them what one does. For every
loss term besides: finite losses at batch 1 and 7, in float32 and bfloat16; gradients reach the player whose turn it is and
nobody else; no host synchronization; weight 0 is the same as absent, bit for bit. Every recipe has a plan.

`paper_settings` holds a plugin's recipes to what its paper prints.
"""

from __future__ import annotations

from gancore_testing import host
from gancore_testing.another_device import AnotherDevice
from gancore_testing.checks import NoSynchronization, bitwise_difference, gradients_elsewhere
from gancore_testing.hosting import build_host, host_of, host_registry
from gancore_testing.papers import paper_settings
from gancore_testing.suite import conformance

__all__ = [
    "AnotherDevice",
    "NoSynchronization",
    "bitwise_difference",
    "build_host",
    "conformance",
    "gradients_elsewhere",
    "host",
    "host_of",
    "host_registry",
    "paper_settings",
]
