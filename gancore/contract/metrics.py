"""The base class of scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class Metric:
    """A score of generated images. One stream of generated images feeds all metrics of a recipe.

    The parameters of `update_real` and `update` are keyword-only names from: ``images`` (N, C, H, W) float32 in [-1, 1],
    ``labels`` (N,), ``logits`` (N, K) and ``features`` (N, F) of the network that the setting ``network`` names. A metric
    without ``update_real`` never has the real images read. Every value that `compute` returns is stored with the protocol.

    Optional methods, which only a metric with both ``update`` and ``update_real`` makes use of:

    - ``real_state(self) -> dict[str, Tensor]``: everything that ``update_real`` has taken in, as contiguous tensors that share
      no memory (so that safetensors can hold them), by name.
    - ``load_real_state(self, state: Mapping[str, Tensor]) -> None``: takes that in place of the real images, which the metric
      then never sees. Core gives the tensors on the run's device. Scores must be the same to the last bit; a state that is
      none of the metric's raises `GancoreError`.

    A metric that lacks either has its real images read anew in every process. The state may depend on the settings only where
    `protocol` tells them.

    What needs more than batches of images, e.g. gradients of a classifier, has instead of ``update_real``, ``update``, `reset`
    and `compute`:

    - ``score_run(self, run: Run) -> dict[str, Any]``: returns the scores of a run's present weights. It leaves the run as it
      was: weights, modes, gradients and random state. `protocol` is asked for afterwards.
    - ``prepare(self, run: Run) -> None`` (optional): called once, before any training, to refuse what `score_run` would refuse.
    """

    network: str | None = None
    """Recipe label of the frozen classifier whose logits and features the metric uses, if any."""

    better: ClassVar[Mapping[str, str]] = {}
    """For each value of `compute`, ``"lower"`` or ``"higher"``, for reports. An instance may have its own."""

    def reset(self) -> None:
        """Forget the generated images (not the real statistics)."""
        raise NotImplementedError

    def protocol(self) -> dict[str, Any]:
        """Return the settings that make two values comparable, beyond those that core adds itself."""
        return {}

    def compute(self) -> dict[str, Any]:
        """Return the scores: numbers, or lists of numbers for a histogram."""
        raise NotImplementedError
