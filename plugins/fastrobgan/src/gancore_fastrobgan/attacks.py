"""Attacks, and the balls that they keep to: PGD, free adversarial training, FGSM, DeepFool. Images are in [-1, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from gancore_standard.tools import WIDTH, budget
from torch import Tensor

import gancore
from gancore import GancoreError

Norm = Literal["linf", "l2"]
Start = Literal["uniform", "zero"]
Epsilon = float | str
"""A budget as a setting, as `gancore_standard.tools.budget` reads it."""


def check_budget(epsilon: Epsilon, norm: Norm, what: str) -> float:
    """Return a budget on the [-1, 1] scale of images; how long a Euclidean one may be depends on the image's size.

    Raises:
        GancoreError: `epsilon` is negative or not finite, above 2 where the norm is l_inf, or a text that is no budget.
    """
    epsilon = budget(epsilon, f"{what}'s epsilon")
    if norm == "l2" and not (epsilon >= 0 and math.isfinite(epsilon)):
        raise GancoreError(f"{what} has epsilon = {epsilon}; the radius of a ball of l2 must be 0 or more, and finite.")
    if norm == "linf" and not 0 <= epsilon <= WIDTH:
        raise GancoreError(
            f"{what} has epsilon = {epsilon}; images are in [-1, 1], so it must be from 0 to {WIDTH:g} (8/255 of the pixel "
            "range is 0.0627 here)."
        )
    return epsilon


def norms(delta: Tensor) -> Tensor:
    """Return the Euclidean norm of each perturbation (N, C, H, W), as (N, 1, 1, 1); of a group (N, k, C, H, W) as a whole."""
    length: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return length.view(-1, *[1] * (delta.ndim - 1))


def random_start(x: Tensor, epsilon: float, norm: Norm, noise: torch.Generator) -> Tensor:
    """Return perturbations (N, C, H, W), uniform in the ball around each image of `x`."""
    if norm == "linf":
        return (gancore.rand(x.shape, noise, dtype=x.dtype) * 2 - 1) * epsilon
    direction = gancore.randn(x.shape, noise, dtype=x.dtype)
    radius = gancore.rand((len(x), *[1] * (x.ndim - 1)), noise, dtype=x.dtype)
    return epsilon * radius ** (1 / max(1, x[0].numel())) * direction / norms(direction).clamp_min(1e-12)


def ascent(grad: Tensor, norm: Norm) -> Tensor:
    """Return the steepest direction of length 1 in the norm, for each gradient (N, C, H, W); 0 where the gradient is 0."""
    return grad.sign() if norm == "linf" else grad / norms(grad).clamp_min(torch.finfo(grad.dtype).tiny)


def project(delta: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """Return the nearest perturbations (N, C, H, W) within the ball."""
    if norm == "linf":
        return delta.clamp(-epsilon, epsilon)
    return delta * (epsilon / norms(delta).clamp_min(torch.finfo(delta.dtype).tiny)).clamp_max(1)


class PGD(gancore.Attack):
    """Projected gradient descent (Madry et al. 2018, arXiv:1706.06083, Eq. 4; RobGAN, arXiv:1807.10454, Algorithm 1).

    delta starts at random in the ball or at 0; `steps` times: delta <- project(delta + step * direction(grad)), where the
    direction is the sign of the gradient (``linf``) or the gradient over its norm (``l2``).

    Args:
        epsilon: Radius of the ball, on the [-1, 1] scale of the images (of l_inf in [0, 2]), or of pixels: ``"8/255"``.
        steps: Number K of steps.
        step: Length of a step; by default 2.5 * epsilon / steps.
        norm: Of the ball.
        start: At random in the ball, or at the image.
        clamp: Keep x + delta in [-1, 1], as the public codes do; the papers' algorithms do not print it.
        restarts: Tries, of which each image keeps the one that raised the objective most.

    Raises:
        GancoreError: `epsilon` is below 0 or above 2, or several restarts would all start at the image.
    """

    groups: ClassVar[bool] = True

    def __init__(
        self,
        *,
        epsilon: Epsilon = 0.03125,
        steps: Annotated[int, gancore.Range(1, 1000)] = 5,
        step: Annotated[float, gancore.Range(0, open_low=True)] | None = None,
        norm: Norm = "linf",
        start: Start = "uniform",
        clamp: bool = True,
        restarts: Annotated[int, gancore.Range(1)] = 1,
    ) -> None:
        super().__init__()
        epsilon = check_budget(epsilon, norm, "the attack")
        if restarts > 1 and start == "zero":
            raise GancoreError(f'{restarts} restarts from one image are one; set start = "uniform" or restarts = 1.')
        self.epsilon = epsilon
        self.steps = steps
        self.step = 2.5 * epsilon / steps if step is None else step
        self.norm: Norm = norm
        self.start: Start = start
        self.clamp = clamp
        self.restarts = restarts

    def craft(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """Return adversarial images for `x` (N, C, H, W), or (N, k, C, H, W); `objective` gives values (N,) to be raised."""
        best = self._once(x, objective, noise)
        if self.restarts == 1:
            return best
        with torch.no_grad():
            highest = objective(best)
        for _ in range(self.restarts - 1):
            tried = self._once(x, objective, noise)
            with torch.no_grad():
                value = objective(tried)
            better = value > highest
            best = torch.where(better.view(-1, *[1] * (x.ndim - 1)), tried, best)
            highest = torch.where(better, value, highest)
        return best

    def _once(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        x = x.detach()
        adversarial = x if self.start == "zero" else self._clamped(x + random_start(x, self.epsilon, self.norm, noise))
        for _ in range(self.steps):
            leaf = adversarial.detach().requires_grad_()
            with torch.enable_grad():
                (grad,) = torch.autograd.grad(objective(leaf).sum(), leaf)
            moved = leaf.detach() + self.step * ascent(grad, self.norm)
            adversarial = self._clamped(x + project(moved - x, self.epsilon, self.norm))
        return adversarial

    def _clamped(self, images: Tensor) -> Tensor:
        return images.clamp(-1, 1) if self.clamp else images


class MarginPGD(PGD):
    """PGD on the label's logit less the highest other one (Carlini & Wagner 2017, arXiv:1608.04644, f_6).

    Cross entropy's gradient fades where a classifier is sure of itself, so that one trained for confidence can seem robust
    under it; the margin's does not. It needs logits, so it attacks classifiers, in evaluation.
    """

    gradient: ClassVar[str] = "logits"
    groups: ClassVar[bool] = False

    def fool(self, x: Tensor, label: Tensor, classify: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """Return images (N, C, H, W) of small margins of `label` (N,); `classify` maps images to logits (N, K)."""

        def objective(images: Tensor) -> Tensor:
            logits = classify(images)
            own = logits.gather(1, label[:, None])
            others = logits.scatter(1, label[:, None], -torch.inf)
            return others.amax(1) - own.squeeze(1)

        return self.craft(x, objective, noise)


class FGSM(PGD):
    """Fast gradient sign method: one step of length epsilon from the image (Goodfellow et al. 2015, arXiv:1412.6572).

    Args:
        epsilon: Radius of the ball, on the [-1, 1] scale of the images (of l_inf in [0, 2]), or of pixels: ``"8/255"``.
        norm: Of the ball.
        clamp: Keep the result in [-1, 1].
    """

    def __init__(self, *, epsilon: Epsilon = 0.03125, norm: Norm = "linf", clamp: bool = True) -> None:
        epsilon = check_budget(epsilon, norm, "the attack")
        super().__init__(epsilon=epsilon, steps=1, step=epsilon or None, norm=norm, start="zero", clamp=clamp)


class Free(gancore.Attack):
    """Free adversarial training: one perturbation that lives as long as the training (Zhong 2020, Algorithm 2).

    delta has the shape of a minibatch, of groups where these are drawn. Each turn of the discriminator sees x + delta, and the
    gradient that its one backward leaves there moves delta <- project(delta + step * direction(grad)). So an attack costs
    nothing but replays of the batch (loop ``fastrobgan/free-replay``); the idea is Shafahi et al. 2019, arXiv:1904.12843.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        batch_size: Images in a batch, from core.
        group_size: Images k of a sample, from core.
        epsilon: Radius of the ball, on the [-1, 1] scale of the images (of l_inf in [0, 2]), or of pixels: ``"8/255"``.
        step: Length of a step; by default epsilon, as in the papers.
        norm: Of the ball.
        start: delta at random in the ball (the thesis), or 0 (the public code of free adversarial training).
        clamp: Keep x + delta in [-1, 1], as the public codes do; Algorithm 2 does not print it. Clamped pixels have no
            gradient.
    """

    gradient: ClassVar[str] = "shared"
    groups: ClassVar[bool] = True
    per_image: ClassVar[frozenset[str]] = frozenset({"delta"})
    delta: Tensor

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        batch_size: int,
        group_size: int = 1,
        epsilon: Epsilon = 0.02,
        step: Annotated[float, gancore.Range(0, open_low=True)] | None = None,
        norm: Norm = "linf",
        start: Start = "uniform",
        clamp: bool = True,
    ) -> None:
        super().__init__()
        epsilon = check_budget(epsilon, norm, "the attack")
        self.epsilon = epsilon
        self.step = epsilon if step is None else step
        self.norm: Norm = norm
        self.clamp = clamp
        sample = (channels, image_size, image_size) if group_size == 1 else (group_size, channels, image_size, image_size)
        delta = torch.zeros(batch_size, *sample)
        if start == "uniform":
            delta = random_start(delta, epsilon, norm, torch.default_generator)
        self.register_buffer("delta", delta)

    def perturb(self, x: Tensor) -> Tensor:
        """Return x + delta for the images of a batch (N, C, H, W); a short batch uses delta's first rows."""
        seen = x + self.delta[: len(x)].to(x.dtype)
        return seen.clamp(-1, 1) if self.clamp else seen

    def update(self, grad: Tensor, x: Tensor) -> None:
        """Move delta by the gradient (N, C, H, W) of the discriminator's loss with respect to what it saw of `x`."""
        rows = self.delta[: len(grad)]
        grad = grad.to(rows.dtype)
        if self.clamp:
            # What the clamp cut off does not depend on delta.
            grad = grad * ((x + rows).abs() <= 1)
        rows.copy_(project(rows + self.step * ascent(grad, self.norm), self.epsilon, self.norm))


class DeepFool(gancore.Attack):
    """The smallest step over the nearest decision boundary, repeated (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599, Alg. 2).

    With f_k the logits, y the first decision, w_k = grad f_k - grad f_y: the nearest boundary is that of the class k with the
    least |f_k - f_y| / ||w_k||_q (q dual to the norm), and x moves there and a little beyond. It has no budget of its own:
    evaluation counts an image as fooled when its perturbation, cut to the ball of `epsilon`, still changes the decision.
    It needs logits, so it attacks classifiers, in evaluation.

    Args:
        epsilon: Radius of the ball that the result is cut to, on the [-1, 1] scale (l_inf: in [0, 2]), or of pixels:
            ``"8/255"``; None leaves it as found.
        norm: In which the step is smallest.
        steps: Most repetitions.
        overshoot: The perturbation is lengthened by this share.
        candidates: Only this many most probable classes are tried.
        clamp: Keep the result in [-1, 1].
    """

    gradient: ClassVar[str] = "logits"

    def __init__(
        self,
        *,
        epsilon: Epsilon | None = None,
        norm: Norm = "l2",
        steps: Annotated[int, gancore.Range(1, 1000)] = 50,
        overshoot: Annotated[float, gancore.Range(0)] = 0.02,
        candidates: Annotated[int, gancore.Range(2)] = 10,
        clamp: bool = True,
    ) -> None:
        super().__init__()
        if epsilon is not None:
            epsilon = check_budget(epsilon, norm, "the attack")
        self.epsilon = epsilon
        self.norm: Norm = norm
        self.steps = steps
        self.overshoot = overshoot
        self.candidates = candidates
        self.clamp = clamp

    def fool(self, x: Tensor, label: Tensor, classify: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """Return images (N, C, H, W) that `classify`, from images to logits (N, K), decides otherwise than `x`."""
        x = x.detach()
        with torch.no_grad():
            ranked = classify(x).argsort(dim=1, descending=True)[:, : self.candidates]
        first = ranked[:, 0]
        total = torch.zeros_like(x)
        adversarial = x
        for _ in range(self.steps):
            step, fooled = self._step(adversarial, classify, ranked, first)
            if bool(fooled.all()):
                break
            total = torch.where(fooled.view(-1, 1, 1, 1), total, total + step)
            adversarial = self._clamped(x + (1 + self.overshoot) * total)
        if self.epsilon is not None:
            adversarial = self._clamped(x + project(adversarial - x, self.epsilon, self.norm))
        return adversarial

    def _step(
        self, images: Tensor, classify: Callable[[Tensor], Tensor], ranked: Tensor, first: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the step to the nearest boundary, and which images lie beyond one already."""
        leaf = images.detach().requires_grad_()
        with torch.enable_grad():
            logits = classify(leaf)
            gaps = logits.gather(1, ranked[:, 1:]) - logits.gather(1, first[:, None])
            slopes = [
                torch.autograd.grad(gap.sum(), leaf, retain_graph=number + 1 < gaps.shape[1])[0]
                for number, gap in enumerate(gaps.unbind(1))
            ]
        fooled = logits.detach().argmax(1) != first
        w = torch.stack(slopes, 1)
        length = w.flatten(2).norm(p=1 if self.norm == "linf" else 2, dim=2).clamp_min(1e-8)
        distance = gaps.detach().abs() / length
        distance, nearest = distance.min(1)
        chosen = w[torch.arange(len(w), device=w.device), nearest]
        # A little more than the distance, so that rounding does not leave an image on the boundary.
        size = (distance + 1e-4).view(-1, 1, 1, 1)
        direction = chosen.sign() if self.norm == "linf" else chosen / norms(chosen).clamp_min(1e-8)
        return size * direction, fooled

    def _clamped(self, images: Tensor) -> Tensor:
        return images.clamp(-1, 1) if self.clamp else images
