"""What does a training step cost in gancore, in torch-mimicry, in torchgan, and in a textbook loop?

    pip install --target build/peers --no-deps torch-mimicry==0.1.16 torchgan==0.1.0 \
        tensorboard protobuf absl-py scikit-image lazy-loader imageio tifffile
    PYTHONPATH=build/peers python -m benchmarks.peers --network sndcgan --network resnet --batch 64 --iterations 10

The command installs beside the environment, not into it, and without TensorFlow, which mimicry declares but needs only for its
scores. Without the packages their rows are left out.

All train the same layers with the same loss (non-saturating), the same batch, Adam, and as many discriminator steps per
generator step (``--discriminator-steps``; mimicry's trainer has 1 unless told, its SNGAN recipe 5), each by its own code:
gancore a recipe, mimicry and torchgan what their trainers do in a step, logging included, the textbook loop
`benchmarks.textbook`. Nobody keeps a moving average. The numbers of parameters are compared first. Images are two thousand of
noise of CIFAR-10's size, so nothing is downloaded; gancore reads them from its store, the others by a `DataLoader` that loads
in the training process, for a machine of few cores has none to spare. bfloat16 is gancore's alone on a CPU.

An iteration is one step of the generator with its discriminator steps. The contestants take turns, one iteration each, and the
table gives the median time of an iteration; real images per second, which is batch x discriminator steps over that time; and
the median over rounds of the ratio to gancore's time. Each contestant has a process of its own, and the others wait: gancore's
command line sets the memory allocator of its process (`gancore_training.keep_freed_memory`), by which all would gain in one.
``--one-process`` measures that.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import gancore_standard
import torch
from gancore_training import TrainingRun, keep_freed_memory

from benchmarks import hosts
from benchmarks.contestant import Conditions, Contestant, count
from benchmarks.plain_networks import DISCRIMINATORS, GENERATORS, LATENT
from benchmarks.step_cost import measure
from benchmarks.tables import machine, markdown, write_json
from benchmarks.textbook import non_saturating_d, non_saturating_g, normed_convolution, normed_linear, textbook_step
from gancore.engine import choose_device
from gancore.plan import make_plan
from gancore.recipe import check_table
from gancore.registry import Registry

FLOAT32, BFLOAT16 = "gancore, float32", "gancore, bfloat16"
TEXTBOOK = "textbook loop, float32"
PEERS = {"torch-mimicry": "benchmarks.peer_mimicry", "torchgan": "benchmarks.peer_torchgan"}
"""Packages and the modules that make contestants of them."""

INSTALL = (
    "pip install --target build/peers --no-deps torch-mimicry==0.1.16 torchgan==0.1.0 "
    "tensorboard protobuf absl-py scikit-image lazy-loader imageio tifffile"
)

NAMES = {"sndcgan": "SNDCGAN", "resnet": "SN-ResNet-32"}


def ours(conditions: Conditions, precision: str) -> Contestant:
    """Return gancore's training."""
    network: dict[str, Any] = {"width": conditions.width}
    if conditions.network == "resnet":
        network["activation"] = "relu"
    table = {
        "run": {"batch_size": conditions.batch, "latent_dim": LATENT, "precision": precision},
        "data": {"use": "hosts/noise"},
        "loop": {"use": "standard/alternating", "discriminator_steps": conditions.discriminator_steps},
        "networks": {
            role: {"use": f"standard/{conditions.network}-{role}", **network} for role in ("generator", "discriminator")
        },
        "heads": {"adversarial": {"use": "standard/linear"}},
        "losses": {"adversarial": {"use": "standard/non-saturating"}},
    }
    registry = Registry.of({"standard": gancore_standard, "hosts": hosts})
    keep_freed_memory()
    run = TrainingRun(make_plan(check_table(table, registry, name="peers"), registry), conditions.device)
    return Contestant(run.step, *(count(run.players[role].parameters) for role in ("generator", "discriminator")))


def textbook(conditions: Conditions) -> Contestant:
    """Return the textbook loop."""
    generator = GENERATORS[conditions.network](conditions.width)
    discriminator = DISCRIMINATORS[conditions.network](conditions.width, normed_convolution, normed_linear)
    step = textbook_step(
        generator,
        discriminator,
        (non_saturating_d, non_saturating_g),
        conditions.batch,
        conditions.device,
        discriminator_steps=conditions.discriminator_steps,
    )
    return Contestant(step, count(generator.parameters()), count(discriminator.parameters()))


def build(name: str, conditions: Conditions) -> Contestant:
    """Return a contestant by its name in the table."""
    if name in (FLOAT32, BFLOAT16):
        return ours(conditions, name.removeprefix("gancore, "))
    if name == TEXTBOOK:
        return textbook(conditions)
    peer: Contestant = importlib.import_module(PEERS[name.removesuffix(", float32")]).contestant(conditions)
    return peer


def check_same_parameters(contestants: Mapping[str, Contestant]) -> None:
    """Print how many parameters each contestant trains.

    Raises:
        ClickException: They differ, so that the contestants would not do the same work.
    """
    for name, one in contestants.items():
        print(f"{name}: {one.generator:,} parameters in G, {one.discriminator:,} in D")
    if len({(one.generator, one.discriminator) for one in contestants.values()}) > 1:
        raise click.ClickException(
            "the contestants train different numbers of parameters, see above, so their times compare nothing"
        )


def _serve(pipe: Connection, name: str, conditions: Conditions, threads: int) -> None:
    """Be a contestant's process: build it, then take a step whenever asked."""
    torch.set_num_threads(threads)
    one = build(name, conditions)
    pipe.send((one.generator, one.discriminator))
    # The other end is closed when the comparison ends, or fails.
    with contextlib.suppress(EOFError):
        while pipe.recv():
            one.step()
            if conditions.device.type == "cuda":
                torch.cuda.synchronize()
            pipe.send(True)


@contextlib.contextmanager
def apart(name: str, conditions: Conditions) -> Iterator[Contestant]:
    """Yield a contestant in a process of its own, which sleeps between its steps."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, name, conditions, torch.get_num_threads()), daemon=True)
    process.start()
    theirs.close()

    def answer() -> Any:
        try:
            return pipe.recv()
        except EOFError:
            raise click.ClickException(f"the process of {name!r} has ended; see its error above") from None

    def step() -> None:
        pipe.send(True)
        answer()

    try:
        generator, discriminator = answer()
        yield Contestant(step, generator, discriminator)
    finally:
        pipe.close()
        process.join()


def installed() -> list[str]:
    """Return which of the other libraries can be imported, and say how to get the rest."""
    found = []
    for package, module in PEERS.items():
        try:
            importlib.import_module(module)
            found.append(package)
        except ImportError as error:
            print(f"{package} is left out ({error}); install it with `{INSTALL}` and set PYTHONPATH=build/peers.")
    return found


def compare(names: list[str], conditions: Conditions, rounds: int, *, one_process: bool) -> dict[str, list[float]]:
    """Return the seconds of each contestant's iterations, taken in turn."""
    with contextlib.ExitStack() as stack:
        if one_process:
            contestants = {name: build(name, conditions) for name in names}
        else:
            contestants = {name: stack.enter_context(apart(name, conditions)) for name in names}
        check_same_parameters(contestants)
        # A process of its own waits for the device by itself.
        waits = conditions.device if one_process else torch.device("cpu")
        return measure({name: one.step for name, one in contestants.items()}, rounds, waits)


def ratios(times: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return each contestant's time over gancore's in either precision, medians over rounds."""

    def ratio(name: str, base: str) -> float:
        return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))

    return {name: {base: ratio(name, base) for base in (FLOAT32, BFLOAT16)} for name in times}


def show(times: Mapping[str, list[float]], conditions: Conditions) -> None:
    """Print the table of one network."""
    images = conditions.batch * conditions.discriminator_steps
    rows = []
    for name, of in ratios(times).items():
        median = statistics.median(times[name])
        rows.append([name, f"{1000 * median:.1f}", f"{images / median:.0f}", f"{of[FLOAT32]:.2f}", f"{of[BFLOAT16]:.2f}"])
    header = ["contestant", "ms an iteration (median)", "images/s", f"time / {FLOAT32}", f"time / {BFLOAT16}"]
    print("\n" + markdown(header, rows) + "\n")


@click.command()
@click.option("--network", "chosen", type=click.Choice([*NAMES]), multiple=True, default=[*NAMES], show_default=True)
@click.option("--width", default=1.0, show_default=True, help="Width of the networks; 1 is the paper's.")
@click.option("--batch", default=64, show_default=True)
@click.option("--discriminator-steps", default=1, show_default=True)
@click.option("--iterations", default=10, show_default=True, help="Of each contestant, after 3 of warm-up.")
@click.option("--threads", type=click.IntRange(1), help="As torch chooses unless given.")
@click.option("--device", default="auto", show_default=True)
@click.option("--one-process", is_flag=True, help="All in one process, with the memory allocator as gancore sets it.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/peers.json"), show_default=True)
def main(
    chosen: tuple[str, ...],
    width: float,
    batch: int,
    discriminator_steps: int,
    iterations: int,
    threads: int | None,
    device: str,
    one_process: bool,
    out: Path,
) -> None:
    """Measure, and print a table per network."""
    if threads is not None:
        torch.set_num_threads(threads)
    peers = installed()
    versions = {package: metadata.version(package) for package in peers}
    about = ", ".join(f"{key} {value}" for key, value in (machine() | versions).items() if value)
    names = [FLOAT32, BFLOAT16, *(f"{peer}, float32" for peer in peers), TEXTBOOK]
    results = {}
    for network in chosen:
        print(
            f"\n{NAMES[network]}, width {width:g}, 32 px, batch {batch}, discriminator steps {discriminator_steps}, "
            f"{iterations} iterations each, in turns, {'in one process' if one_process else 'each in its own process'}"
        )
        print(about)
        with tempfile.TemporaryDirectory() as scratch:
            conditions = Conditions(network, width, batch, discriminator_steps, choose_device(device), Path(scratch))
            times = compare(names, conditions, iterations, one_process=one_process)
        show(times, conditions)
        results[network] = {"seconds": times, "ratios": ratios(times)}
    settings = {"width": width, "batch": batch, "discriminator_steps": discriminator_steps, "one_process": one_process}
    write_json(out, {**settings, "versions": versions, "networks": results})


if __name__ == "__main__":
    main()
