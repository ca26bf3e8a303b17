"""Fréchet distance between the features of real and of generated images, and its mathematics, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError
from gancore_standard.metrics.features import FeatureMetric
from gancore_standard.metrics.float64 import as_float64
from gancore_standard.metrics.moments import Moments

ASYMMETRY = 1e-5
"""How far, relative to its largest entry, a matrix may be from a covariance (symmetric, no negative eigenvalue)."""

SMALLEST_PIVOT = 1e-10
"""Pivots of Cholesky's factor, relative to a covariance's largest entry, at and below which it counts as nearly singular.

Rounding moves a pivot by about F times float64's precision: 4.5e-13 for the 2048 features of Inception.
"""

SINGULAR = "a covariance is singular where there are no more images than features, and the distance is too high"
"""What is to be known of a distance of few images."""

MANY_FEATURES = 256
"""Features from which the Fréchet distance tries the faster way; below, the exact one takes milliseconds."""

ROUNDING = 1e-7
"""How far, relative to itself, rounding may move a Fréchet distance that is computed the faster way."""


class FrechetDistance(FeatureMetric):
    """Fréchet distance of two normal distributions, fitted to the features of real and of generated images.

    Heusel et al. 2017 (arXiv:1706.08500), Eq. 6. With ``standard/inception`` as the network it is the FID; features of another
    classifier give another scale, which the protocol keeps apart. Reports ``fid``, 0 or more.

    Args:
        network: Label of the frozen classifier whose features (N, F) are compared.
    """

    better: ClassVar[Mapping[str, str]] = {"fid": "lower"}

    collector = Moments

    def __init__(self, *, network: str = "annotator") -> None:
        super().__init__(network=network)

    def protocol(self) -> dict[str, Any]:
        """Return how the moments are computed, and a warning of few images."""
        return {"covariance": "unbiased", "moments_in": "float64", **self.few_for_features(SINGULAR)}

    def compute(self) -> dict[str, Any]:
        """Return ``fid``.

        Raises:
            GancoreError: Fewer than two images of either kind, features that are not finite, or of different widths.
        """
        try:
            return {"fid": frechet_distance(*self._real.result(), *self._fake.result())}
        except GancoreError as error:
            raise GancoreError(f"Fréchet distance on the features of {self.network!r}: {error}") from error


def frechet_distance(mean_a: Any, cov_a: Any, mean_b: Any, cov_b: Any) -> float:
    """Return the Fréchet distance of two normal distributions, at least 0.

    ``|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2))`` (Heusel et al. 2017, arXiv:1706.08500, Eq. 6). With ``A = F F'`` and
    ``B = G G'``, the eigenvalues of ``A^(1/2) B A^(1/2)`` are the squared singular values of ``F'G``, so the trace of the root
    is the sum of those singular values. That needs no root of a non-symmetric matrix, and no ``epsilon I`` where a covariance
    is singular. The factors are Cholesky's, or, of a covariance that is nearly singular, those of its eigendecomposition, in
    which eigenvalues within rounding (F times the machine's precision, relative to the largest) count as 0: their roots would
    bring half the digits of noise. Of many features, the squared singular values are first computed as the eigenvalues of
    ``F'B F``, in a third of the time, and taken where rounding can't move the distance by more than 1e-7 of itself.

    Args:
        mean_a: Mean (F,).
        cov_a: Covariance (F, F).
        mean_b: Mean (F,).
        cov_b: Covariance (F, F).

    Raises:
        GancoreError: Shapes that do not fit, values that are not finite, or a matrix that is no covariance.
    """
    moments = [as_float64(values) for values in (mean_a, cov_a, mean_b, cov_b)]
    mean_a, cov_a, mean_b, cov_b = moments
    width = mean_a.numel()
    shapes = [tuple(values.shape) for values in moments]
    if shapes != [(width,), (width, width)] * 2:
        raise GancoreError(
            "The Fréchet distance needs two means (F,) and two covariances (F, F) of one width F, "
            f"not mean {shapes[0]} and covariance {shapes[1]} against mean {shapes[2]} and covariance {shapes[3]}."
        )
    if not all(bool(torch.isfinite(values).all()) for values in moments):
        raise GancoreError("The Fréchet distance needs finite means and covariances; some of the given values are not.")
    cov_a, cov_b = _symmetric(cov_a), _symmetric(cov_b)
    means, traces = (mean_a - mean_b).square().sum(), cov_a.trace() + cov_b.trace()
    root = _root_by_eigenvalues(cov_a, cov_b, means + traces) if width >= MANY_FEATURES else None
    if root is None:
        root = torch.linalg.svdvals(_factor(cov_a).T @ _factor(cov_b)).sum()
    # The distance of equal distributions may be rounded to just below 0.
    return max(0.0, float(means + (traces - 2 * root)))


def frechet_distance_of_samples(a: Any, b: Any) -> float:
    """Return the Fréchet distance of the normal distributions fitted to two sets of features, at least 0.

    The same as `frechet_distance` of their means and unbiased covariances. Where there are no more samples than features, the
    centered samples are themselves a factor ``A = F F'``, so that no covariance is formed: for the hundred images of a class
    and 2048 features, milliseconds instead of seconds.

    Args:
        a: Features (N, F), N at least 2.
        b: Features (M, F), M at least 2.

    Raises:
        GancoreError: Fewer than two samples, features that are not finite, or two widths.
    """
    sides = [as_float64(features) for features in (a, b)]
    shapes = [tuple(side.shape) for side in sides]
    if any(len(shape) != 2 or shape[0] < 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise GancoreError(
            "The Fréchet distance of samples needs two sets of at least two samples each, (N, F) and (M, F), "
            f"not of the shapes {shapes[0]} and {shapes[1]}."
        )
    if not all(bool(torch.isfinite(side).all()) for side in sides):
        raise GancoreError("The Fréchet distance needs finite features; some of the given values are not.")
    means = [side.mean(0) for side in sides]
    # Scaled so that each product with its own transpose, (F, N) by (N, F), is the covariance.
    scaled = [(side - mean).T / (len(side) - 1) ** 0.5 for side, mean in zip(sides, means, strict=True)]
    factors = [one if one.shape[1] <= one.shape[0] else _factor(_symmetric(one @ one.T)) for one in scaled]
    traces = sum(one.square().sum() for one in scaled)
    distance = (means[0] - means[1]).square().sum() + (traces - 2 * torch.linalg.svdvals(factors[0].T @ factors[1]).sum())
    return max(0.0, float(distance))


def _symmetric(covariance: Tensor) -> Tensor:
    """Return a covariance without its rounding's asymmetry; refuse one that is not symmetric."""
    difference = float((covariance - covariance.T).abs().amax()) if covariance.numel() else 0.0
    if difference > ASYMMETRY * _scale(covariance):
        raise GancoreError(
            "The Fréchet distance was given a matrix that is not symmetric, so it is no covariance; check how it was made."
        )
    # A product of features with themselves is symmetric to the last bit.
    return covariance if difference == 0 else (covariance + covariance.T) / 2


def _scale(covariance: Tensor) -> float:
    return float(covariance.abs().amax()) if covariance.numel() else 0.0


def _cholesky(covariance: Tensor) -> Tensor | None:
    """Return the lower triangle L with L L' = covariance, or None where that is not safely positive definite."""
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if not covariance.numel() or int(failed) or float(lower.diagonal().amin()) ** 2 <= SMALLEST_PIVOT * _scale(covariance):
        return None
    factor: Tensor = lower
    return factor


def _root_by_eigenvalues(cov_a: Tensor, cov_b: Tensor, rest: Tensor) -> Tensor | None:
    """Return tr (A B)^(1/2) as the roots of the eigenvalues of L'B L, with A = L L'; or None where they may be inexact.

    Rounding adds some E to ``L'B L``, which moves an eigenvalue mu with eigenvector u by ``u'E u``, and its root by at most
    ``|u'E u| / mu^(1/2)``. Single roundings are independent, so ``u'E u`` is about as large as one of them: ``eps |A| |B|``, in
    Frobenius norms, which are no smaller than the spectral ones (Higham and Mary 2019, "A New Approach to Probabilistic
    Rounding Error Analysis"). The errors of the roots are added as if all had one sign.

    Args:
        cov_a: Covariance A (F, F), symmetric.
        cov_b: Covariance B (F, F), symmetric; one with a negative eigenvalue is left to the other way, which refuses it.
        rest: The other terms of the distance, relative to which the roots must be exact.
    """
    lower = _cholesky(cov_a)
    if lower is None:
        return None
    values = torch.linalg.eigvalsh(lower.T @ (cov_b @ lower))
    if float(values[0]) <= 0:
        return None
    roots = values.sqrt()
    root = roots.sum()
    error = torch.finfo(values.dtype).eps * cov_a.norm() * cov_b.norm() * (1 / roots).sum()
    return root if bool(2 * error <= ROUNDING * (rest - 2 * root)) else None


def _factor(covariance: Tensor) -> Tensor:
    """Return F (n, rank) with F F' = covariance (n, n), which is symmetric."""
    lower = _cholesky(covariance)
    if lower is not None:
        return lower
    scale = _scale(covariance)
    values, vectors = torch.linalg.eigh(covariance)
    if len(values) and float(values[0]) < -ASYMMETRY * scale:
        raise GancoreError(
            f"The Fréchet distance was given a matrix with the negative eigenvalue {float(values[0]):.3g}, "
            "so it is no covariance; check how it was made."
        )
    positive = values > values.amax() * len(values) * torch.finfo(values.dtype).eps if scale else values > 0
    factor: Tensor = vectors[:, positive] * values[positive].sqrt()
    return factor
