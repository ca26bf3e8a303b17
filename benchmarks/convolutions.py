"""How fast are a convolution's parts, and the two other ways to its weight gradient? The shapes of SNDCGAN and SN-ResNet-32.

    python -m benchmarks.convolutions [--batch 64] [--precision bfloat16] [--threads 1]

Milliseconds of the calling thread's processor time, the best of some repetitions after one of warm-up; maps and weights are
channels last. *weight* and *input* are each gradient alone by the library, *bias* what asking for the bias adds to the weight's
(the library computes both in one), *sum* the same bias by a sum over batch and pixels; *product* and *fold* are the weight
gradient by `gancore_cpu.weight_gradients`, copies included, the fold of rows of fewer than 32 pixels to 32 or more. *taken* is
what `cpu/convolutions` computes that by on this processor. *penalty* is what a penalty's backward asks of a convolution, a
weight gradient and a convolution more, by torch's formula, and *second* is the same as `cpu/convolutions` computes it here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from gancore_cpu.gradients import FOLDED_ROW, way_of_weight
from gancore_cpu.override import overridden
from gancore_cpu.processor import way_of_this_processor
from gancore_cpu.weight_gradients import Geometry, by_fold, by_product
from gancore_training import keep_freed_memory
from torch import Tensor
from torch.nn import functional as F

from benchmarks.tables import machine, markdown, write_json

SHAPES = (
    *((64, 3, 32, 3, 1), (64, 64, 32, 4, 2), (128, 64, 16, 3, 1), (128, 128, 16, 4, 2), (256, 128, 8, 3, 1)),
    *((256, 256, 8, 4, 2), (512, 256, 4, 3, 1)),
    *((128, 128, 16, 3, 1), (128, 128, 8, 3, 1), (256, 256, 8, 3, 1), (256, 256, 4, 3, 1)),
)
"""Convolutions: channels out and in, pixels a side, kernel, stride; the first seven are SNDCGAN's discriminator."""

DOUBLINGS = ((512, 256, 4), (256, 128, 8), (128, 64, 16), (256, 256, 16))
"""Transposed convolutions 4 x 4 with stride 2: channels in and out, pixels a side of the input; three are SNDCGAN's."""


def best(work: Callable[[], object], repetitions: int) -> float:
    """Return milliseconds."""
    work()
    taken = []
    for _ in range(repetitions):
        started = time.thread_time()
        work()
        taken.append(time.thread_time() - started)
    return 1000 * min(taken)


def backward(grad: Tensor, images: Tensor, weight: Tensor, stride: int, transposed: bool, mask: tuple[bool, ...]) -> Any:
    """Return the library's gradients of a convolution with padding 1."""
    return torch.ops.aten.convolution_backward(
        grad, images, weight, [grad.shape[1]], [stride] * 2, [1, 1], [1, 1], transposed, [0, 0], 1, mask
    )


def row(shape: tuple[int, ...], transposed: bool, batch: int, dtype: torch.dtype, repetitions: int) -> list[str]:
    """Return the times of one convolution."""
    first, second, size, kernel, stride = shape
    weight = torch.randn(first, second, kernel, kernel).to(dtype).contiguous(memory_format=torch.channels_last)
    images = torch.randn(batch, first if transposed else second, size, size)
    images = images.to(dtype).contiguous(memory_format=torch.channels_last)

    def forward() -> Tensor:
        call = F.conv_transpose2d if transposed else F.conv2d
        return call(images, weight, None, stride, 1)

    grad = torch.randn_like(forward())
    small, large = (images, grad) if transposed else (grad, images)
    geometry = Geometry((kernel, kernel), (stride, stride), (1, 1))
    side_by_side = -(-FOLDED_ROW // small.shape[3])

    def of(*mask: bool) -> float:
        return best(lambda: backward(grad, images, weight, stride, transposed, mask), repetitions)

    def fold() -> Tensor:
        def library(one: Tensor, two: Tensor) -> Tensor:
            gradient: Tensor = backward(one, two, weight, stride, False, (False, True, False))[1]
            return gradient

        return by_fold(small, large, geometry, side_by_side, library)

    weight_alone = of(False, True, False)
    times = [
        best(forward, repetitions),
        of(True, False, False),
        weight_alone,
        of(False, True, True) - weight_alone,
        best(lambda: grad.sum((0, 2, 3)), repetitions),
        best(lambda: by_product(small, large, geometry), repetitions),
        best(fold, repetitions) if side_by_side > 1 else float("nan"),
    ]
    way = way_of_this_processor() if dtype == torch.bfloat16 else "off"
    taken = way_of_weight(small.shape, large.shape, geometry, way)

    def penalty() -> Any:
        ends = ([stride] * 2, [1, 1], [1, 1], transposed, [0, 0], 1, (True, True, True))
        with torch.no_grad():
            return torch.ops.aten._convolution_double_backward(images, None, None, grad, weight, images, *ends)

    theirs = best(penalty, repetitions)
    with overridden(way):
        ours = best(penalty, repetitions)
    name = f"{'transposed, ' if transposed else ''}{first} x {second}, {kernel} x {kernel}, stride {stride}, {size} px"
    numbers = [f"{each:.1f}" for each in (*times, theirs, ours)]
    return [name, *numbers[:-2], "library" if taken == "off" else taken, *numbers[-2:]]


@click.command()
@click.option("--batch", default=64, show_default=True)
@click.option("--precision", type=click.Choice(["bfloat16", "float32"]), default="bfloat16", show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--repetitions", default=11, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/convolutions.json"), show_default=True)
def main(batch: int, precision: str, threads: int, repetitions: int, out: Path) -> None:
    """Measure, and print a table."""
    torch.set_num_threads(threads)
    keep_freed_memory()  # as the command line does
    dtype = getattr(torch, precision)
    print(", ".join(f"{key} {value}" for key, value in machine().items() if value), f"\n{precision}, batch {batch}\n")
    shapes = [*((shape, False) for shape in SHAPES), *(((*shape, 4, 2), True) for shape in DOUBLINGS)]
    rows = [row(shape, transposed, batch, dtype, repetitions) for shape, transposed in shapes]
    header = ["convolution", "forward", "input", "weight", "bias", "sum", "product", "fold", "taken", "penalty", "second"]
    print(markdown(header, rows))
    write_json(out, {"batch": batch, "precision": precision, "threads": threads, "header": header, "rows": rows})


if __name__ == "__main__":
    main()
