"""torch-mimicry as a contestant: its trainer's loop, its SNGAN classes, its spectral norm.

Of SN-ResNet the library ships the classes. They interpolate bilinearly where the paper repeats pixels, with the same layers
and parameters. SNDCGAN it does not ship, so it is written here as its users write a model: a subclass of its SNGAN base classes
with its layers.

Importing this module needs the package, and puts empty modules in the place of two of its own, neither of which takes part in
training: ``metrics`` needs TensorFlow, ``datasets`` needs ``torch._six``, which no torch that gancore runs on still has.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from gancore_standard.torchvision_import import torchvision
from torch import Tensor, nn

from benchmarks.contestant import Conditions, Contestant, count
from benchmarks.plain_networks import LATENT, sndcgan_discriminator, sndcgan_generator
from benchmarks.textbook import noise_loader

torchvision()  # mimicry's import of it must not fail beside a CPU build of torch
for _name in ("metrics", "datasets"):
    sys.modules.setdefault(f"torch_mimicry.{_name}", ModuleType(f"torch_mimicry.{_name}"))

from torch_mimicry.modules.layers import SNConv2d, SNLinear  # noqa: E402
from torch_mimicry.nets import sngan  # noqa: E402
from torch_mimicry.training.metric_log import MetricLog  # noqa: E402
from torch_mimicry.training.trainer import Trainer  # noqa: E402


class SNDCGANGenerator(sngan.SNGANBaseGenerator):  # type: ignore[misc]
    """SNDCGAN's generator, for mimicry."""

    def __init__(self, width: float, **kwargs: Any) -> None:
        super().__init__(nz=LATENT, ngf=64, bottom_width=4, **kwargs)
        self.layers = sndcgan_generator(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map latents (N, 128) to images."""
        images: Tensor = self.layers(x)
        return images


class SNDCGANDiscriminator(sngan.SNGANBaseDiscriminator):  # type: ignore[misc]
    """SNDCGAN's discriminator, for mimicry."""

    def __init__(self, width: float, **kwargs: Any) -> None:
        super().__init__(ndf=64, **kwargs)
        self.layers = sndcgan_discriminator(width, SNConv2d, SNLinear)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to logits (N, 1)."""
        logits: Tensor = self.layers(x)
        return logits


def networks(conditions: Conditions) -> tuple[nn.Module, nn.Module]:
    """Return G and D with the non-saturating loss, which mimicry calls ``gan``."""
    if conditions.network == "sndcgan":
        return SNDCGANGenerator(conditions.width, loss_type="gan"), SNDCGANDiscriminator(conditions.width, loss_type="gan")
    maps = round(128 * conditions.width)
    return (
        sngan.SNGANGenerator32(nz=LATENT, ngf=2 * maps, loss_type="gan"),
        sngan.SNGANDiscriminator32(ndf=maps, loss_type="gan"),
    )


def contestant(conditions: Conditions) -> Contestant:
    """Return mimicry's training, with the settings that its trainer has by default."""
    generator, discriminator = (network.to(conditions.device) for network in networks(conditions))
    trainer = Trainer(
        netD=discriminator,
        netG=generator,
        optD=torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        optG=torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        dataloader=noise_loader(conditions.batch),
        num_steps=1_000_000,
        n_dis=conditions.discriminator_steps,
        log_dir=str(conditions.scratch / "mimicry"),
        device=conditions.device,
    )
    batches = iter(trainer.dataloader)
    done = 0

    def step() -> None:
        # The body of Trainer.train's loop, which has no way to run a single round. What is left out there happens every
        # 50 steps or more rarely: summaries, pictures, checkpoints.
        nonlocal batches, done
        log = MetricLog()
        shared = {"log_data": log, "global_step": done, "device": trainer.device, "scaler": None}
        for _ in range(trainer.n_dis):
            batches, real = trainer._fetch_data(iter_dataloader=batches)
            trainer.netD.train_step(real_batch=real, netG=trainer.netG, optD=trainer.optD, **shared)
        trainer.netG.train_step(real_batch=real, netD=trainer.netD, optG=trainer.optG, **shared)
        done += 1
        log = trainer.scheduler.step(log_data=log, global_step=done)
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            trainer.logger.print_log(global_step=done, log_data=log, time_taken=0.0)

    return Contestant(step, count(generator.parameters()), count(discriminator.parameters()))
