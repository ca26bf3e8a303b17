"""The mathematics of the scores, free of models and images: Fréchet distance, Inception score, class balance.

Everything is computed in float64. Arguments may be tensors on any device, NumPy arrays or nested lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gancore import GancoreError
from gancore.tools import listed

ASYMMETRY = 1e-5
"""How far, relative to its largest entry, a matrix may be from a covariance (symmetric, no negative eigenvalue)."""

SMALLEST_PIVOT = 1e-10
"""Pivots of Cholesky's factor, relative to a covariance's largest entry, at and below which it counts as nearly singular.

Rounding moves a pivot by about F times float64's precision: 4.5e-13 for the 2048 features of Inception.
"""

MANY_FEATURES = 256
"""Features from which the Fréchet distance tries the faster way; below, the exact one takes milliseconds."""

ROUNDING = 1e-7
"""How far, relative to itself, rounding may move a Fréchet distance that is computed the faster way."""


class Moments:
    """Mean and unbiased covariance of features that come in batches, in float64, in one pass.

    Batches are merged by the update of Chan, Golub and LeVeque (1979, "Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances", Eq. 2.1), which centers each batch before it squares; so a mean that is large beside the
    spread costs no digits. `update` only queues work on the features' device and never waits for it.

    Args:
        of: What the features are of, for errors, e.g. ``"the real images"``.
    """

    def __init__(self, of: str = "the samples") -> None:
        self.of = of
        self.count = 0
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None

    def update(self, features: Tensor) -> None:
        """Take in a batch of features (N, F).

        Raises:
            GancoreError: The features are no matrix, or their width F is not that of the batches before.
        """
        if features.ndim != 2:
            raise GancoreError(f"The features of {self.of} have the shape {tuple(features.shape)}; they must be (N, F).")
        number, width = features.shape
        batch = features.detach().double()
        if self._mean is None or self._scatter is None:
            self._mean = batch.new_zeros(width)
            self._scatter = batch.new_zeros(width, width)
        if width != len(self._mean):
            raise GancoreError(
                f"The features of {self.of} change their width from {len(self._mean)} to {width}; give them one width."
            )
        if number == 0:
            return
        mean = batch.mean(0)
        centered = batch - mean
        difference = mean - self._mean
        total = self.count + number
        self._scatter.addmm_(centered.T, centered)
        self._scatter.addr_(difference, difference, alpha=self.count * number / total)
        self._mean.add_(difference, alpha=number / total)
        self.count = total

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the mean (F,) and the covariance (F, F), divided by N - 1 as `numpy.cov` does.

        Raises:
            GancoreError: Fewer than two samples, or a feature that is not finite.
        """
        if self._mean is None or self._scatter is None or self.count < 2:
            raise GancoreError(f"A covariance needs at least two samples, but there are {self.count} of {self.of}; give more.")
        # A value that is not finite stays in the mean, so one look at the end finds it.
        if not bool(torch.isfinite(self._mean).all()):
            raise GancoreError(f"The features of {self.of} hold values that are not finite; check the network and its input.")
        return self._mean.clone(), self._scatter / (self.count - 1)

    def state(self) -> dict[str, Tensor]:
        """Return what was taken in, by name, as contiguous tensors on the features' device.

        Nothing before the first batch; then ``count`` () int64, ``mean`` (F,) and ``scatter`` (F, F) float64, which is the sum
        of the outer products of the centered features. `load_state` goes on from it to the last bit.
        """
        if self._mean is None or self._scatter is None:
            return {}
        count = torch.tensor(self.count, dtype=torch.int64, device=self._mean.device)
        return {"count": count, "mean": self._mean.clone(), "scatter": self._scatter.clone()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` returned, in place of what was taken in.

        Raises:
            GancoreError: The state holds anything else.
        """
        if not state:
            self.count, self._mean, self._scatter = 0, None, None
            return
        if state.keys() != {"count", "mean", "scatter"} or not _are_moments(**state):
            raise GancoreError(
                f"The kept moments of {self.of} hold {listed(sorted(state))}, not a count, a mean (F,) and a scatter (F, F) in "
                "float64; compute them anew from the images."
            )
        self.count = int(state["count"])
        self._mean, self._scatter = state["mean"].clone(), state["scatter"].clone()


def _are_moments(count: Tensor, mean: Tensor, scatter: Tensor) -> bool:
    width = mean.numel()
    shapes = [tuple(tensor.shape) for tensor in (count, mean, scatter)]
    return shapes == [(), (width,), (width, width)] and mean.dtype == scatter.dtype == torch.float64


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
    mean_a, cov_a, mean_b, cov_b = (_on_host(given) for given in (mean_a, cov_a, mean_b, cov_b))
    width = mean_a.numel()
    shapes = [tuple(given.shape) for given in (mean_a, cov_a, mean_b, cov_b)]
    if shapes != [(width,), (width, width)] * 2:
        raise GancoreError(
            "The Fréchet distance needs two means (F,) and two covariances (F, F) of one width F, "
            f"not mean {shapes[0]} and covariance {shapes[1]} against mean {shapes[2]} and covariance {shapes[3]}."
        )
    if not all(bool(torch.isfinite(given).all()) for given in (mean_a, cov_a, mean_b, cov_b)):
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
    sides = [_on_host(given) for given in (a, b)]
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
    found: Tensor = lower
    return found


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
    kept = values > values.amax() * len(values) * torch.finfo(values.dtype).eps if scale else values > 0
    factor: Tensor = vectors[:, kept] * values[kept].sqrt()
    return factor


def inception_score(probabilities: Any, splits: int = 10, *, unbiased: bool = False) -> tuple[float, float]:
    """Return mean and standard deviation, over splits, of ``exp(E_x KL(p(y|x) || p(y)))``, between 1 and K.

    Salimans et al. 2016 (arXiv:1606.03498), section 4: split i holds the samples ``i N // S`` to ``(i + 1) N // S``, and
    ``p(y)`` is the mean over the split. A probability of 0 adds nothing.

    Args:
        probabilities: Class probabilities (N, K), each row adding up to 1.
        splits: Number of splits S.
        unbiased: Divide the variance by S - 1 instead of S as the original does.

    Raises:
        GancoreError: Rows that are no probabilities, more splits than samples, or `unbiased` with a single split.
    """
    p = _on_host(probabilities)
    if p.ndim != 2 or p.numel() == 0:
        raise GancoreError(f"The Inception score needs class probabilities (N, K), not the shape {tuple(p.shape)}.")
    if not 1 <= splits <= len(p):
        raise GancoreError(
            f"The Inception score can't split {len(p)} samples into {splits}; give more samples or set fewer splits."
        )
    # Comparisons with a value that is not a number are false, so this refuses those as well.
    if not bool(((p >= 0).all() & ((p.sum(1) - 1).abs() < 1e-3).all()).item()):
        raise GancoreError("The Inception score needs rows of finite probabilities that add up to 1; apply a softmax first.")
    if unbiased and splits == 1:
        raise GancoreError("The Inception score of a single split has no unbiased deviation; set more splits.")
    scores = []
    for i in range(splits):
        part = p[i * len(p) // splits : (i + 1) * len(p) // splits]
        marginal = part.mean(0)
        divergence = torch.special.xlogy(part, part).sum(1).mean() - torch.special.xlogy(marginal, marginal).sum()
        scores.append(divergence.exp())
    each = torch.stack(scores)
    return float(each.mean()), float(each.std(correction=int(unbiased)))


def kl_to_uniform(counts: Any, smoothing: float = 1e-5) -> float:
    """Return how far class counts are from uniform, in nats: 0 when all are equal, at most log K.

    ``sum_k (P_k + s) log((P_k + s) / (1 / K + s))`` with ``P = counts / sum(counts)``: the KL of CBGAN (OpenReview:yEnaS6yOkxy,
    section 4.1), whose public code adds s = 1e-5. With ``smoothing = 0`` it is the exact KL(P || U).

    Args:
        counts: Samples per class (K,), or their shares.
        smoothing: s, at least 0.

    Raises:
        GancoreError: No count above 0, a negative or not finite one, or a negative smoothing.
    """
    count = _on_host(counts)
    if count.ndim != 1 or not bool((count >= 0).all()) or not bool(torch.isfinite(count).all()) or not float(count.sum()) > 0:
        raise GancoreError(
            "The divergence from uniform needs finite class counts (K,), none negative and one at least above 0."
        )
    if not smoothing >= 0:
        raise GancoreError(f"The smoothing of the divergence from uniform must be at least 0, not {smoothing!r}.")
    share = count / count.sum() + smoothing
    return float(torch.special.xlogy(share, share / (1 / len(count) + smoothing)).sum())


def _on_host(given: Any) -> Tensor:
    # One place for all scores, so that a value does not depend on the accelerator's linear algebra.
    return torch.as_tensor(given).detach().to("cpu", torch.float64)
