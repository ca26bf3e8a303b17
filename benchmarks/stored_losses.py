"""Did a change of the code change a result? Losses and weights of 20 iterations, written before it and compared after it.

    python -m benchmarks.stored_losses --out before.json                   # on the code as it was
    python -m benchmarks.stored_losses --against before.json               # on the changed code, same machine and threads
    python -m benchmarks.stored_losses --against before.json --accelerate profile/cpu-graphs

Every loss is written as a hexadecimal float and every tensor of the state enters a digest, so only equality to the last bit
passes. Bits depend on the processor and on the number of threads; so the file is for one machine and is not kept here.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import click
import torch
from gancore_training import build
from gancore_training.trainer import accelerate

from gancore.recipe import read
from gancore.registry import registry

ITERATIONS = 20

RECIPES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "SNDCGAN": ("cbgan/digits-lt-baseline", (), ()),
    "SNDCGAN, bfloat16": ("cbgan/digits-lt-baseline", (), ("run.precision=bfloat16",)),
    "class balance": ("cbgan/digits-lt", (), ()),
    "class balance, free perturbation, difference": ("cbgan/digits-lt", ("fastrobgan/free", "dsgan/difference"), ()),
    "gradient penalty": ("cbgan/digits-lt-baseline", (), ("losses.penalty.use=standard/gradient-penalty",)),
    "SN-ResNet": (
        "cbgan/digits-lt-baseline",
        (),
        tuple(
            f"networks.{role}.{key}"
            for role in ("generator", "discriminator")
            for key in (f"use=standard/resnet-{role}", "width=0.1")
        ),
    ),
    "Fast-RobGAN": ("fastrobgan/digits-small", (), ()),
    "RobGAN": ("fastrobgan/digits-small-robgan", (), ()),
    "points": ("dsgan/swiss-roll", (), ()),
}


def trace(recipe: str, overlays: tuple[str, ...], assignments: tuple[str, ...]) -> dict[str, Any]:
    """Return the losses of each iteration, and a digest of the whole state at the end."""
    found = registry()
    table = ("run.iterations=20", *assignments)
    run = build(read(recipe, found, overlays=overlays, assignments=table), found, torch.device("cpu"))
    step = accelerate(run, lambda name, status: print(f"{name} is {status}", flush=True))
    losses = []
    for _ in range(ITERATIONS):
        step()
        losses.append({name: float(value).hex() for name, value in run.losses.items()})
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(run.tensors().items()):
        digest.update(name.encode())
        digest.update(value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return {"losses": losses, "state": digest.hexdigest()}


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return in words how far two traces are apart."""
    if before == now:
        return "the same to the last bit"
    pairs = zip(before["losses"], now["losses"], strict=True)
    apart = [
        max(abs(float.fromhex(old[name]) - float.fromhex(new[name])) / max(abs(float.fromhex(old[name])), 1e-6) for name in old)
        for old, new in pairs
    ]
    return f"CHANGED: losses apart by {apart[0]:.1e} in the first iteration, relative, and {apart[-1]:.1e} in the last"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/stored_losses.json"), show_default=True)
@click.option("--against", type=click.Path(path_type=Path, exists=True), help="What the code before the change wrote.")
@click.option("--accelerate", "accelerators", multiple=True, help="What runs the iterations, as run.accelerate names it.")
def main(out: Path, against: Path | None, accelerators: tuple[str, ...]) -> None:
    """Train each recipe for 20 iterations; write what came out, or compare it."""
    setting = f"run.accelerate={json.dumps(accelerators)}"
    found = {name: trace(recipe, overlays, (*more, setting)) for name, (recipe, overlays, more) in RECIPES.items()}
    if against is None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n")
        print(f"written to {out}")
        return
    before = json.loads(against.read_text())
    for name in found:
        print(f"{name:45} {difference(before[name], found[name]) if name in before else 'not stored before'}")
    sys.exit(0 if found == before else 1)


if __name__ == "__main__":
    main()
