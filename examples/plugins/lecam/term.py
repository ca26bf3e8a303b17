"""LeCam regularization (Tseng et al. 2021, "Regularizing Generative Adversarial Networks under Limited Data")."""

from typing import Annotated

import torch
from torch import Tensor

import gancore


class LeCam(gancore.LossTerm):
    """Holds D's answers for each side near the moving average of its answers for the other (arXiv:2104.03310, section 3).

    Args:
        decay: Share of an average that each step keeps; the paper has 0.99.
    """

    real: Tensor
    fake: Tensor

    def __init__(self, *, decay: Annotated[float, gancore.Range(0, 1)] = 0.99) -> None:
        super().__init__()
        self.decay = decay
        # What the averages are is state: in buffers it is saved, restored, and moved with the device.
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("fake", torch.zeros(()))

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return the regularization, from logits (N,) of both sides."""
        return (real_adversarial - self.fake).square().mean() + (fake_adversarial - self.real).square().mean()

    def observe(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> None:
        """Take the answers of a step into the averages."""
        for average, logits in ((self.real, real_adversarial), (self.fake, fake_adversarial)):
            # Of several processes each has its share of the batch.
            average.lerp_(gancore.global_mean(logits.mean()), 1 - self.decay)

    def monitor(self) -> dict[str, Tensor]:
        """Return both averages, for the log."""
        return {"real": self.real, "fake": self.fake}
