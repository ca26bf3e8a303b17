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
``--one-process`` measures that. With ``--accelerate cpu/convolutions`` gancore takes part once more in either precision, as the
accelerators run it. On a CPU the table also has the FLOP of an iteration over its time as a share of the matrix rate.
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
import torch
from gancore_training import TrainingRun, keep_freed_memory
from gancore_training.trainer import accelerate

from benchmarks.contestant import Conditions, Contestant, count
from benchmarks.plain_networks import DISCRIMINATORS, GENERATORS, LATENT
from benchmarks.step_cost import PLUGINS
from benchmarks.tables import machine, markdown, write_json
from benchmarks.textbook import non_saturating_d, non_saturating_g, normed_convolution, normed_linear, textbook_step
from benchmarks.turns import Timed, clock_of, flop_of, matrix_rates, share_of, take_turns, timed
from gancore.engine import choose_device
from gancore.plan import make_plan
from gancore.recipe import check_table
from gancore.registry import Registry

FLOAT32, BFLOAT16 = "gancore, float32", "gancore, bfloat16"
ACCELERATED = {"gancore, float32, accelerated": "float32", "gancore, bfloat16, accelerated": "bfloat16"}
TEXTBOOK = "textbook loop, float32"
PEERS = {"torch-mimicry": "benchmarks.peer_mimicry", "torchgan": "benchmarks.peer_torchgan"}
"""Packages and the modules that make contestants of them."""

INSTALL = (
    "pip install --target build/peers --no-deps torch-mimicry==0.1.16 torchgan==0.1.0 "
    "tensorboard protobuf absl-py scikit-image lazy-loader imageio tifffile"
)

NAMES = {"sndcgan": "SNDCGAN", "resnet": "SN-ResNet-32"}


def ours(conditions: Conditions, precision: str, accelerators: tuple[str, ...] = ()) -> Contestant:
    """Return gancore's training, as accelerators run it."""
    network: dict[str, Any] = {"width": conditions.width}
    if conditions.network == "resnet":
        network["activation"] = "relu"
    table = {
        "run": {"batch_size": conditions.batch, "latent_dim": LATENT, "precision": precision, "accelerate": [*accelerators]},
        "data": {"use": "hosts/noise"},
        "loop": {"use": "standard/alternating", "discriminator_steps": conditions.discriminator_steps},
        "networks": {
            role: {"use": f"standard/{conditions.network}-{role}", **network} for role in ("generator", "discriminator")
        },
        "heads": {"adversarial": {"use": "standard/linear"}},
        "losses": {"adversarial": {"use": "standard/non-saturating"}},
    }
    registry = Registry.of(PLUGINS)
    keep_freed_memory()
    run = TrainingRun(make_plan(check_table(table, registry, name="peers"), registry), conditions.device)
    step = accelerate(run, lambda name, status: print(f"{precision}: {name} is {status}", flush=True))
    return Contestant(step, *(count(run.players[role].parameters) for role in ("generator", "discriminator")))


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
    if name in ACCELERATED:
        return ours(conditions, ACCELERATED[name], conditions.accelerators)
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


def clocked(one: Contestant, conditions: Conditions) -> tuple[int, Timed]:
    """Return the FLOP of a contestant's iteration, of which one is run, and what times further ones."""
    return flop_of(one.step), timed(one.step, conditions.device, clock_of(cpu_time=conditions.cpu_time))


def _serve(pipe: Connection, name: str, conditions: Conditions, threads: int) -> None:
    """Be a contestant's process: build it, then take a step whenever asked, and answer with its seconds."""
    torch.set_num_threads(threads)
    one = build(name, conditions)
    work, once = clocked(one, conditions)
    pipe.send((one.generator, one.discriminator, work))
    # The other end is closed when the comparison ends, or fails.
    with contextlib.suppress(EOFError):
        while pipe.recv():
            pipe.send(once())


@contextlib.contextmanager
def apart(name: str, conditions: Conditions) -> Iterator[tuple[Contestant, int, Timed]]:
    """Yield a contestant in a process of its own, which sleeps between its steps, the FLOP of a step, and what times one."""
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

    def once() -> float:
        pipe.send(True)
        return float(answer())

    try:
        generator, discriminator, work = answer()
        yield Contestant(once, generator, discriminator), work, once
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


def compare(
    names: list[str], conditions: Conditions, rounds: int, *, one_process: bool
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return the seconds of each contestant's iterations, taken in turn, and the FLOP of one."""
    with contextlib.ExitStack() as stack:
        if one_process:
            built = {name: build(name, conditions) for name in names}
            entered = {name: (one, *clocked(one, conditions)) for name, one in built.items()}
        else:
            entered = {name: stack.enter_context(apart(name, conditions)) for name in names}
        check_same_parameters({name: one for name, (one, _, _) in entered.items()})
        times = take_turns({name: once for name, (_, _, once) in entered.items()}, rounds)
    return times, {name: work for name, (_, work, _) in entered.items()}


def ratios(times: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return each contestant's time over each of gancore's, medians over rounds."""

    def ratio(name: str, base: str) -> float:
        return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))

    bases = [base for base in (FLOAT32, BFLOAT16, *ACCELERATED) if base in times]
    return {name: {base: ratio(name, base) for base in bases} for name in times}


def show(times: Mapping[str, list[float]], conditions: Conditions, work: Mapping[str, int], rates: Mapping[str, float]) -> None:
    """Print the table of one network.

    Args:
        times: Seconds of iterations.
        conditions: Of the comparison.
        work: FLOP of an iteration.
        rates: FLOP/s of a product in a precision; no share is told of those that lack.
    """
    images = conditions.batch * conditions.discriminator_steps
    rows = []
    for name, of in ratios(times).items():
        median = statistics.median(times[name])
        share = share_of(work[name] / median, rates.get("bfloat16" if "bfloat16" in name else "float32"))
        numbers = [f"{1000 * median:.1f}", f"{images / median:.0f}", f"{work[name] / 1e9:.1f}", share]
        rows.append([name, *numbers, *(f"{value:.2f}" for value in of.values())])
    bases = [f"time / {base}" for base in next(iter(ratios(times).values()))]
    header = ["contestant", "ms an iteration (median)", "images/s", "GFLOP", "share of the matrix rate", *bases]
    print("\n" + markdown(header, rows) + "\n")


@click.command()
@click.option("--network", "chosen", type=click.Choice([*NAMES]), multiple=True, default=[*NAMES], show_default=True)
@click.option("--width", default=1.0, show_default=True, help="Width of the networks; 1 is the paper's.")
@click.option("--batch", default=64, show_default=True)
@click.option("--discriminator-steps", default=1, show_default=True)
@click.option("--iterations", default=10, show_default=True, help="Of each contestant, after 3 of warm-up.")
@click.option("--accelerate", "accelerators", multiple=True, help="Name of an accelerator, for further rows of gancore's.")
@click.option("--leave-out", multiple=True, help="Name of a contestant that takes no part.")
@click.option("--threads", type=click.IntRange(1), help="As torch chooses unless given.")
@click.option("--cpu-time", is_flag=True, help="Time by the processor, for a machine that others use too.")
@click.option("--device", default="auto", show_default=True)
@click.option("--one-process", is_flag=True, help="All in one process, with the memory allocator as gancore sets it.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/peers.json"), show_default=True)
def main(
    chosen: tuple[str, ...],
    width: float,
    batch: int,
    discriminator_steps: int,
    iterations: int,
    accelerators: tuple[str, ...],
    leave_out: tuple[str, ...],
    threads: int | None,
    cpu_time: bool,
    device: str,
    one_process: bool,
    out: Path,
) -> None:
    """Measure, and print a table per network."""
    if threads is not None:
        torch.set_num_threads(threads)
    target, clock = choose_device(device), clock_of(cpu_time=cpu_time)
    peers = installed()
    versions = {package: metadata.version(package) for package in peers}
    about = ", ".join(f"{key} {value}" for key, value in (machine() | versions).items() if value)
    names = [FLOAT32, BFLOAT16, *(ACCELERATED if accelerators else ()), *(f"{peer}, float32" for peer in peers), TEXTBOOK]
    names = [name for name in names if name not in leave_out]
    results = {}
    for network in chosen:
        print(
            f"\n{NAMES[network]}, width {width:g}, 32 px, batch {batch}, discriminator steps {discriminator_steps}, "
            f"{iterations} iterations each, in turns, {'in one process' if one_process else 'each in its own process'}, "
            f"{'the processor' if cpu_time else 'the clock'}'s time"
        )
        print(about, flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            conditions = Conditions(
                network, width, batch, discriminator_steps, target, Path(scratch), accelerators, cpu_time=cpu_time
            )
            rates = matrix_rates(clock) if target.type == "cpu" else {}
            times, work = compare(names, conditions, iterations, one_process=one_process)
        show(times, conditions, work, rates)
        results[network] = {"seconds": times, "ratios": ratios(times), "flop": work, "rates": rates}
    settings = {"width": width, "batch": batch, "discriminator_steps": discriminator_steps, "one_process": one_process}
    asked = {"accelerators": accelerators, "cpu_time": cpu_time}
    write_json(out, {**settings, **asked, "versions": versions, "networks": results})


if __name__ == "__main__":
    main()
