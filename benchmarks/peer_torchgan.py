"""torchgan as a contestant: its trainer's iteration and its losses, on networks of plain torch layers.

torchgan ships neither network, so they are written as its users write a model: a subclass of its generator and discriminator.
The spectral norm is torch's own, for torchgan's is no layer but wraps one, and keeps ``u`` and ``v`` as parameters. Importing
this module needs the package.
"""

from __future__ import annotations

import torch
from gancore_standard.torchvision_import import torchvision
from torch import Tensor, nn

from benchmarks.contestant import Conditions, Contestant, count
from benchmarks.plain_networks import DISCRIMINATORS, GENERATORS, LATENT
from benchmarks.textbook import endless, noise_loader, normed_convolution, normed_linear

torchvision()  # torchgan's import of it must not fail beside a CPU build of torch

from torchgan.losses import MinimaxDiscriminatorLoss, MinimaxGeneratorLoss  # noqa: E402
from torchgan.models import Discriminator, Generator  # noqa: E402
from torchgan.trainer import Trainer  # noqa: E402


class PlainGenerator(Generator):  # type: ignore[misc]
    """A generator of plain layers, for torchgan."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__(encoding_dims=LATENT)
        self.layers = layers

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, 128) to images."""
        images: Tensor = self.layers(z)
        return images


class PlainDiscriminator(Discriminator):  # type: ignore[misc]
    """A discriminator of plain layers, for torchgan."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__(input_dims=3)
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """Map images to logits (N, 1)."""
        logits: Tensor = self.layers(x)
        return logits


def contestant(conditions: Conditions) -> Contestant:
    """Return torchgan's training, with the settings that its trainer has by default."""
    layers = {
        "generator": GENERATORS[conditions.network](conditions.width),
        "discriminator": DISCRIMINATORS[conditions.network](conditions.width, normed_convolution, normed_linear),
    }
    classes = {"generator": PlainGenerator, "discriminator": PlainDiscriminator}
    optimizer = {"name": torch.optim.Adam, "args": {"lr": 2e-4, "betas": (0.5, 0.999)}}
    folder = conditions.scratch / "torchgan"
    trainer = Trainer(
        {role: {"name": classes[role], "args": {"layers": layers[role]}, "optimizer": optimizer} for role in layers},
        [MinimaxGeneratorLoss(), MinimaxDiscriminatorLoss()],
        device=conditions.device,
        ncritic=conditions.discriminator_steps,
        checkpoints=f"{folder}/gan",
        recon=f"{folder}/images",
    )
    trainer.batch_size = conditions.batch  # as calling the trainer does
    batches = endless(noise_loader(conditions.batch))

    def step() -> None:
        # The body of BaseTrainer.train's loop over the loader, which has no way to run a single round. The generator is
        # trained in every ncritic-th one, on a batch that the discriminator sees as well.
        for _ in range(conditions.discriminator_steps):
            real, labels = next(batches)
            trainer.real_inputs, trainer.labels = real.to(trainer.device), labels.to(trainer.device)
            g_loss, d_loss, g_steps, d_steps = trainer.train_iter()
            trainer.loss_information["generator_losses"] += g_loss
            trainer.loss_information["discriminator_losses"] += d_loss
            trainer.loss_information["generator_iters"] += g_steps
            trainer.loss_information["discriminator_iters"] += d_steps
            trainer.logger.run_mid_epoch(trainer)

    return Contestant(step, count(trainer.generator.parameters()), count(trainer.discriminator.parameters()))
