"""The base classes of attacks, and of defenses against them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from gancore.contract.running import Run


class Attack(nn.Module):
    """Perturbs the images that the discriminator sees (or, where there is none, the classifier), within a budget.

    The real images, unless the recipe's key ``sides`` says otherwise.

    ``gradient = "own"``: implement `craft`; it takes its own gradients by ``torch.autograd.grad`` and leaves everything else
    alone. ``gradient = "shared"``: implement `perturb` and `update`; the perturbed images are a leaf, and the gradient that
    the discriminator's one backward leaves on them is handed back (free adversarial training). ``gradient = "logits"``:
    implement `fool`; it needs a classifier's logits, so it attacks in evaluation only.
    """

    gradient: ClassVar[str] = "own"

    per_image: ClassVar[frozenset[str] | set[str]] = frozenset()
    """Names of buffers (N, ...) with a row for each image of a batch, N being ``batch_size``. Of several processes each keeps
    the rows of its own images."""

    def craft(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """Return adversarial images for `x` (N, C, H, W).

        Args:
            x: Clean images.
            objective: Maps images to one value per image (N,), to be raised. The network is in eval mode.
            noise: Generator for a random start.
        """
        raise NotImplementedError

    def fool(self, x: Tensor, label: Tensor, classify: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """Return images that a trained classifier shall misclassify, for evaluation.

        By default `craft`, raising the cross entropy; an attack that works on logits overrides it.

        Args:
            x: Clean images (N, C, H, W).
            label: Their classes (N,) int64.
            classify: Maps images to logits (N, K).
            noise: Generator for a random start.
        """
        return self.craft(x, lambda images: F.cross_entropy(classify(images), label, reduction="none"), noise)

    def perturb(self, x: Tensor) -> Tensor:
        """Return what the discriminator sees instead of `x`; no gradient flows through this call."""
        raise NotImplementedError

    def update(self, grad: Tensor, x: Tensor) -> None:
        """Learn from the gradient of the discriminator's loss with respect to what it saw.

        Args:
            grad: Same shape as `x`.
            x: The clean images.
        """
        raise NotImplementedError


class Defense(nn.Module):
    """Stands in front of a trained classifier that is attacked, in evaluation only.

    It says what the attacker sees: ``"bare"``, the classifier alone; ``"substitute"``, the classifier behind `substitute`,
    which passes gradients where the defense does not; or ``"through"``, the classifier behind `defend` itself.
    """

    sees: Literal["bare", "substitute", "through"] = "through"

    def prepare(self, run: Run) -> None:
        """Take what is needed of the run whose classifier is defended, e.g. its generator. Called once."""

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Return what the classifier gets instead of images `x` (N, C, H, W) in [-1, 1]: images of that shape and range."""
        raise NotImplementedError

    def substitute(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Return what stands for `defend` to the attacker; by default that, with the gradient of doing nothing.

        Athalye et al. 2018 (arXiv:1802.00420), section 4.1: backward pass differentiable approximation.
        """
        return self.defend(x.detach(), noise).detach() + (x - x.detach())
