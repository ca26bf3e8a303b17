"""An attack by one who can ask for decisions, and sees no gradient (Papernot et al. 2017; Defense-GAN)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, ClassVar

import torch
from gancore_standard.tools import SmallCNN, budget, own_random_state
from torch import Tensor
from torch.nn import functional as F

import gancore

Count = Annotated[int, gancore.Range(1)]
Classify = Callable[[Tensor], Tensor]


class BlackBox(gancore.Attack):
    """Trains a substitute on a classifier's decisions, and attacks that by one step along the sign of its gradient (FGSM).

    Each round trains the substitute on the images so far, and, but for the last, adds for each of them
    x + step sign(dF_y(x) / dx), with F_y what the substitute says of the decision y, and asks for the decision on it:
    Jacobian-based augmentation (arXiv:1602.02697, Algorithm 1). The first images are those that are attacked, of which only
    decisions are asked for; the public code has 150 others with their true labels. Decisions are those of the classifier behind
    its defense where the attacker ``sees`` more than the bare one.

    Args:
        epsilon: Radius of the ball of l_inf, on the [-1, 1] scale of images, or as levels of a pixel: ``"8/255"``.
        rounds: Rounds of training, each with twice the images of the one before.
        epochs: Epochs of a round.
        step: Of the augmentation, on the [-1, 1] scale: the paper's lambda of 0.1 on [0, 1].
        lr: Learning rate of Adam.
        substitute_batch_size: Images in a step of training.
        width: Of the substitute, a ``standard/small-cnn``.
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        classes: Number of classes, from core.
    """

    gradient: ClassVar[str] = "logits"

    def __init__(
        self,
        *,
        epsilon: Annotated[float, gancore.Range(0)] | str = 0.6,
        rounds: Count = 6,
        epochs: Count = 10,
        step: Annotated[float, gancore.Range(0)] = 0.2,
        lr: Annotated[float, gancore.Range(0, open_low=True)] = 1e-3,
        substitute_batch_size: Annotated[int, gancore.Range(2)] = 128,
        width: Annotated[float, gancore.Range(0, open_low=True)] = 1.0,
        channels: int,
        image_size: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.epsilon = budget(epsilon, "the attack's epsilon")
        self.rounds = rounds
        self.epochs = epochs
        self.step = step
        self.lr = lr
        self.substitute_batch_size = substitute_batch_size
        self.build = partial(SmallCNN, channels=channels, image_size=image_size, classes=classes, width=width)

    def fool(self, x: Tensor, label: Tensor, classify: Classify, noise: torch.Generator) -> Tensor:
        """Return images (N, C, H, W) within the ball around `x` that fool a substitute of the classifier."""
        substitute = self.substitute(x, classify, noise)
        return (x + self.epsilon * _sign(lambda images: F.cross_entropy(substitute(images), label), x)).clamp(-1, 1)

    def substitute(self, x: Tensor, classify: Classify, noise: torch.Generator) -> Classify:
        """Return a classifier that has learned another one's decisions on images `x` (N, C, H, W) and those around them."""
        seed = int(torch.randint(2**31, (), generator=noise, device=noise.device))
        with own_random_state(x.device, seed), torch.enable_grad():
            model = self.build().to(x.device)
            images, decisions = x.detach(), _decisions(classify, x)
            for number in range(self.rounds):
                self._train(model, images, decisions)
                if number == self.rounds - 1:
                    break
                added = self._around(model, images, decisions)
                images, decisions = torch.cat([images, added]), torch.cat([decisions, _decisions(classify, added)])
        return model

    def _around(self, model: SmallCNN, images: Tensor, decisions: Tensor) -> Tensor:
        """Return images moved towards what the substitute says of their decisions."""
        ascent = _sign(lambda leaf: model(leaf).softmax(1).gather(1, decisions[:, None]).sum(), images)
        return (images + self.step * ascent).clamp(-1, 1)

    def _train(self, model: SmallCNN, images: Tensor, decisions: Tensor) -> None:
        """Train for some epochs, and leave the model in evaluation mode.

        Raises:
            GancoreError: It diverges, so that its gradient, which has no sign then, would move no image.
        """
        optimizer = torch.optim.Adam(model.parameters(), lr=self.lr)
        model.train().requires_grad_(True)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(images), device="cpu").split(self.substitute_batch_size):
                if len(rows) == 1 < len(images):  # batch norm learns nothing of one image
                    continue
                chosen = rows.to(images.device)
                optimizer.zero_grad()
                F.cross_entropy(model(images[chosen]), decisions[chosen]).backward()
                optimizer.step()
        model.eval().requires_grad_(False)
        if not all(bool(weight.isfinite().all()) for weight in model.parameters()):
            raise gancore.GancoreError(f"the attack's substitute diverges at lr = {self.lr:g}; set a smaller lr.")


def _decisions(classify: Classify, images: Tensor) -> Tensor:
    with torch.no_grad():
        return classify(images).argmax(1)


def _sign(objective: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        (grad,) = torch.autograd.grad(objective(leaf), leaf)
    return grad.sign()
