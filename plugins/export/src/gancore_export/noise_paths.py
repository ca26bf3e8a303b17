"""Paths through the noise that latents are drawn from, so that each point of a path is a draw of their own distribution.

A latent's `draw` turns noise into latents: normal numbers, uniform ones, a component at random. What it draws for the ends of a
path is recorded, and it is called again with noise between: normal numbers are interpolated spherically (White 2016,
arXiv:1609.04468, section 2.1), uniform ones as the normal numbers that they are the distribution function of, and
what else there is, such as a component, is that of the nearer end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gancore import GancoreError, Latent, Latents

NORMAL, UNIFORM, OTHER = "normal", "uniform", "other"

_DRAWS: dict[Any, str] = {torch.randn: NORMAL, torch.rand: UNIFORM, torch.randint: OTHER}


@attrs.frozen(eq=False)
class Path:
    """Places between ends, each of its own pair.

    Attributes:
        ends: Number of ends M.
        start: Index of the end before each place (N,) int64.
        stop: Index of the end after it (N,).
        share: How far each place is from the one to the other (N,), in [0, 1].
    """

    ends: int
    start: Tensor
    stop: Tensor
    share: Tensor

    def __len__(self) -> int:
        return len(self.start)

    def nearer(self, rows: Tensor) -> Tensor:
        """Return the row of the nearer end for each place, of rows (M, ...)."""
        return rows[torch.where(self.share < 0.5, self.start, self.stop)]

    def between(self, rows: Tensor, kind: str) -> Tensor:
        """Return what is at each place, of drawn rows (M, ...): ``normal``, ``uniform`` on [0, 1), or ``other`` numbers."""
        one, two = rows[self.start], rows[self.stop]
        if kind == NORMAL:
            return spherical(one, two, self.share)
        if kind == UNIFORM:
            least = torch.finfo(rows.dtype).eps
            first, second = (torch.special.ndtri(each.clamp(least, 1 - least)) for each in (one, two))
            mixed = torch.special.ndtr(spherical(first, second, self.share)).clamp(max=1 - least)
            return torch.where(self._at(rows, 0), one, torch.where(self._at(rows, 1), two, mixed))
        return self.nearer(rows)

    def _at(self, rows: Tensor, share: float) -> Tensor:
        return (self.share == share).view(-1, *[1] * (rows.ndim - 1))


def spherical(one: Tensor, two: Tensor, share: Tensor) -> Tensor:
    """Return rows between rows (N, ...): their directions on the great circle, their norms in proportion.

    Args:
        one: Where each begins.
        two: Where each ends.
        share: How far each is (N,), in [0, 1]. At 0 and 1 the ends come out to the last bit.
    """
    shape = one.shape
    one, two, share = one.flatten(1), two.flatten(1), share.to(one.dtype)[:, None]
    norms = [torch.linalg.vector_norm(each, dim=1, keepdim=True) for each in (one, two)]
    units = [each / norm.clamp(min=torch.finfo(one.dtype).tiny) for each, norm in zip((one, two), norms, strict=True)]
    angle = torch.acos((units[0] * units[1]).sum(1, keepdim=True).clamp(-1, 1))
    sine = torch.sin(angle)
    # Ends in one direction, or in opposite ones, name no circle.
    plain = sine < 1e-4
    sine = torch.where(plain, torch.ones_like(sine), sine)
    weights = [torch.where(plain, linear, torch.sin(linear * angle) / sine) for linear in (1 - share, share)]
    mixed = (weights[0] * units[0] + weights[1] * units[1]) * ((1 - share) * norms[0] + share * norms[1])
    return torch.where(share == 0, one, torch.where(share == 1, two, mixed)).view(shape)


class _Recording(TorchFunctionMode):
    """Records what is drawn from noise: the kind of each draw, and what came of it."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[tuple[str, Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        drawn = func(*args, **(kwargs or {}))
        if _draws(func, kwargs) and isinstance(drawn, Tensor):
            self.draws.append((_DRAWS.get(func, OTHER), drawn.clone()))
        return drawn


class _Replaying(TorchFunctionMode):
    """Gives what lies between recorded draws in the place of new ones."""

    def __init__(self, draws: list[tuple[str, Tensor]], path: Path) -> None:
        super().__init__()
        self.draws = iter(draws)
        self.path = path

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if not _draws(func, kwargs):
            return func(*args, **(kwargs or {}))
        kind, recorded = next(self.draws)
        rows = recorded.ndim > 0 and len(recorded) == self.path.ends
        value = self.path.between(recorded, kind) if rows else recorded
        # What draws in place changes its tensor.
        return args[0].copy_(value) if args and isinstance(args[0], Tensor) and func.__name__.endswith("_") else value


def _draws(func: Any, kwargs: Mapping[str, Any] | None) -> bool:
    return bool(kwargs) and isinstance((kwargs or {}).get("generator"), torch.Generator) and func is not torch.Generator


def record(latent: Latent, number: int, noise: torch.Generator) -> tuple[Latents, list[tuple[str, Tensor]]]:
    """Return `number` latents, and what was drawn for them: its kind and its values, draw by draw."""
    with torch.no_grad(), _Recording() as recording:
        drawn = latent.draw(number, noise)
    return drawn, recording.draws


def latents_along(latent: Latent, path: Path, noise: torch.Generator) -> Latents:
    """Return the latents at each place of a path whose ends are drawn from noise.

    Raises:
        GancoreError: The latent does not draw rows of noise, so that there is no way between two.
    """
    ends, draws = record(latent, path.ends, noise)
    try:
        with torch.no_grad(), _Replaying(draws, path):
            drawn = latent.draw(len(path), noise)
        sound = drawn.z.shape == (len(path), *ends.z.shape[1:])
    except (IndexError, RuntimeError, StopIteration, TypeError, ValueError):
        sound = False
    if not sound:
        raise GancoreError(
            f"the latents of {type(latent).__name__} can't be walked through: it draws other than rows of noise, one a sample."
        )
    return drawn


def distribution(latent: Latent, noise: torch.Generator) -> str:
    """Return ``normal`` or ``uniform`` (on [-1, 1]) where a latent is nothing but that, and ``other`` otherwise: measured."""
    drawn, draws = record(latent, 64, noise)
    if len(draws) != 1 or len(drawn.label):
        return OTHER
    kind, values = draws[0]
    due = {NORMAL: values, UNIFORM: 2 * values - 1}.get(kind)
    return kind if due is not None and torch.equal(drawn.z, due) else OTHER
