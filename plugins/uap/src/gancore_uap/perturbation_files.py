"""Files of perturbations: what is added to images, its budget, and what it was made from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import attrs
import torch
from torch import Tensor

import gancore
from gancore.tools import digest, noise_for, read_tensors, write_tensors
from gancore_uap.budgets import (
    LEVELS,
    TOLERANCE,
    Norm,
    budget_in_levels,
    check_epsilon,
    check_norm,
    fits,
    from_levels,
    to_levels,
    whole_levels,
)

KIND = "uap"
FORMAT = 1

Kind = Literal["sign", "uniform", "normal"]


def _stored(delta: Tensor) -> Tensor:
    # A copy: the caller may go on training what it gave.
    return delta.detach().to("cpu", torch.float32, copy=True).contiguous()


# Tensors have no equality that attrs could use; `digest` tells perturbations apart.
@attrs.frozen(eq=False)
class Perturbation:
    """A universal perturbation: one change of pixels for all images.

    Attributes:
        delta: What is added to each image (C, H, W) float32 on the CPU, in units of the [0, 1] scale of pixels: whole
            multiples of 1/255 within the budget, as `gancore_uap.budgets.whole_levels` gives.
        epsilon: The budget, on the [0, 1] scale, above 0 and at most 1.
        norm: Of the budget: ``linf``, or ``l2`` for the root mean square.
        about: Where it comes from: victims, recipe, data, seed, protocol. Anything that JSON holds.

    Raises:
        GancoreError: The perturbation has another shape, is not finite, is not in whole levels or leaves its budget, or the
            budget is out of range.
    """

    delta: Tensor = attrs.field(converter=_stored)
    epsilon: float
    norm: Norm
    about: dict[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        where = "the perturbation"
        check_norm(self.norm, where)
        check_epsilon(self.epsilon, where, self.norm)
        if self.delta.ndim != 3 or not self.delta.numel():
            raise gancore.GancoreError(
                f"{where} has the shape {tuple(self.delta.shape)} in place of (C, H, W); store one without a batch."
            )
        if not bool(self.delta.isfinite().all()):
            raise gancore.GancoreError(f"{where} is not finite everywhere; craft it again, with a smaller learning rate.")
        if not bool(((self.delta * LEVELS).round() - self.delta * LEVELS).abs().max() <= TOLERANCE):
            raise gancore.GancoreError(
                f"{where} is not in whole levels of 1/255, which images of eight bits need; round it with whole_levels."
            )
        if not fits(self.delta, self.epsilon, self.norm):
            raise gancore.GancoreError(
                f"{where} leaves its own {self.norm} budget of {self.epsilon * LEVELS:g}/255; round it with whole_levels, or "
                "state the budget that it was crafted for."
            )

    @property
    def digest(self) -> str:
        """Twelve characters that change when the perturbation or its budget does; its origin does not matter."""
        text = f"{tuple(self.delta.shape)} {self.norm} {self.epsilon!r} "
        return digest([text.encode(), to_levels(self.delta).numpy().astype("<i2").tobytes()])

    def scaled(self, epsilon: float) -> Perturbation:
        """Return the perturbation at another budget: in proportion, and then rounded toward zero to whole levels.

        What rounding takes away grows as the budget shrinks: values below one level vanish.

        Args:
            epsilon: The new budget, on the [0, 1] scale.

        Returns:
            A perturbation whose `about` names this one's digest and budget under ``scaled_from``.

        Raises:
            GancoreError: The budget is outside (0, 1], or allows no whole level in the maximum norm.
        """
        check_epsilon(epsilon, "scaling the perturbation", self.norm)
        # From levels in float64, so that the same budget gives the same perturbation.
        values = to_levels(self.delta).double() / LEVELS * (epsilon / self.epsilon)
        about = {**self.about, "scaled_from": {"digest": self.digest, "epsilon": self.epsilon}}
        return Perturbation(whole_levels(values, epsilon, self.norm), epsilon, self.norm, about)

    def save(self, path: Path) -> None:
        """Write the perturbation as a safetensors file, all or nothing; missing folders are made.

        Args:
            path: The file.

        Raises:
            GancoreError: It can't be written.
        """
        header = {"kind": KIND, "format": FORMAT, "epsilon": self.epsilon, "norm": self.norm, "about": self.about}
        write_tensors(path, {"delta": self.delta}, header)

    @classmethod
    def load(cls, path: Path) -> Perturbation:
        """Read a perturbation that `save` wrote.

        Args:
            path: The file.

        Raises:
            GancoreError: The file is missing or damaged, holds something else or another format, or a perturbation that
                leaves its own budget or is not finite.
        """
        if not path.is_file():
            raise gancore.GancoreError(f"there is no perturbation {path}; check the path.")
        try:
            tensors, header = read_tensors(path)
        except gancore.GancoreError as error:
            raise gancore.GancoreError(
                f"{path} is damaged or no safetensors file; take another copy of it, or craft it again."
            ) from error
        # Other tools may have written anything under the header's name.
        if not isinstance(header, dict) or header.get("kind") != KIND:
            raise gancore.GancoreError(f"{path} holds no universal perturbation; name a file that `gancore uap` wrote.")
        if header.get("format") != FORMAT:
            raise gancore.GancoreError(
                f"{path} is a perturbation of format {header.get('format')!r}, and this version reads format {FORMAT}; "
                "install the version of gancore-plugin-uap that wrote it, or craft it again."
            )
        delta, epsilon, norm = tensors.get("delta"), header.get("epsilon"), header.get("norm")
        about = header.get("about")
        number = isinstance(epsilon, int | float) and not isinstance(epsilon, bool)
        if delta is None or not number or not isinstance(norm, str) or not isinstance(about, dict):
            raise gancore.GancoreError(
                f"{path} lacks the perturbation, its budget or its origin; take another copy of it, or craft it again."
            )
        try:
            return cls(delta, float(epsilon), norm, about)  # type: ignore[arg-type]  # checked by the class
        except gancore.GancoreError as error:
            raise gancore.GancoreError(f"{path}: {error}") from error


def random_perturbation(
    shape: tuple[int, ...], epsilon: float, norm: Norm, seed: int, kind: Kind | None = None
) -> Perturbation:
    """Return a random perturbation, the reference that a crafted one of the same budget has to beat.

    Args:
        shape: C, H, W.
        epsilon: The budget, on the [0, 1] scale of pixels.
        norm: Of the budget.
        seed: Of the noise.
        kind: ``sign``, each value at one of the two edges of the budget, the strongest; ``uniform``, each whole level of the
            budget equally often, what papers call random noise; both for ``linf``. ``normal``, Gaussian noise scaled to the
            greatest size that the budget holds in whole levels; for ``l2``. By default ``sign`` or ``normal``.

    Returns:
        The perturbation; the same for the same arguments.

    Raises:
        GancoreError: The budget is out of range, or the kind is not one of the norm.
    """
    where = "a random perturbation"
    check_norm(norm, where)
    check_epsilon(epsilon, where, norm)
    kinds: dict[str, tuple[Kind, ...]] = {"linf": ("sign", "uniform"), "l2": ("normal",)}
    chosen = kind or kinds[norm][0]
    if chosen not in kinds[norm]:
        raise gancore.GancoreError(
            f"{where} of kind {chosen!r} has no {norm} budget of its own; choose {' or '.join(kinds[norm])}."
        )
    noise = noise_for("cpu", seed, "random perturbation", chosen)
    most = math.floor(budget_in_levels(epsilon))
    if chosen == "sign":
        delta = from_levels(most * (2 * torch.randint(0, 2, shape, generator=noise) - 1))
    elif chosen == "uniform":
        delta = from_levels(torch.randint(-most, most + 1, shape, generator=noise))
    else:
        delta = _largest_normal(torch.randn(shape, generator=noise, dtype=torch.float64), epsilon)
    return Perturbation(delta, epsilon, norm, {"recipe": "random", "kind": chosen, "seed": seed})


def _largest_normal(noise: Tensor, epsilon: float) -> Tensor:
    """Return noise at the greatest scale at which its nearest whole levels are within an l_2 budget."""
    # Rounding toward zero would leave the reference weaker than what it stands beside.
    low, high = 0.0, 2 * (epsilon + 1 / LEVELS) / noise.square().mean().sqrt().item()
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(from_levels(to_levels(noise * middle)), epsilon, "l2") else (low, middle)
    return from_levels(to_levels(noise * low))
