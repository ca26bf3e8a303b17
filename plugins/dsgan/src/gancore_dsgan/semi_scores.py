"""Scores of semi-supervised learning: what Eq. 7 asks for, and the accuracy of the classifier's averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

import gancore
from gancore.tools import evaluating, load_split, to_unit
from gancore_dsgan.loops import SemiSupervised

if TYPE_CHECKING:
    from gancore.tools import Run

BATCH = 500


def _logits(run: Run, network: nn.Module, images: Tensor) -> Tensor:
    """Return a classifier's logits (N, K) of images (N, C, H, W), 8-bit ones or in [-1, 1], in evaluation mode."""
    with torch.no_grad(), evaluating(network), run.autocast():
        return torch.cat([network(to_unit(batch.to(run.device))).float() for batch in images.split(BATCH)])


def _classifier(run: Run, label: str) -> Any:
    if label not in run.players:
        raise gancore.GancoreError(
            f"{run.recipe.name} trains no classifier {label!r} to score; name one by the metric's setting `network`."
        )
    return run.networks[label]


class Complement(gancore.Metric):
    """Do generated images lie outside all classes, and real ones inside of one (DSGAN, Eq. 7, D.1; Dai et al. 2017)?

    Reports ``generated_below``, the share of generated images whose largest logit is below 0, and ``real_above``, that of real
    ones of the evaluation split whose largest logit is above 0. Eq. 7 asks for 1 and 1; D.1 tunes to about 0.9 of the
    generated ones.

    Args:
        classifier: Recipe label of the classifier, of K logits; that of class K + 1 is 0.
        images: Generated images, and real ones, the first of the split; all of these where there are fewer.
    """

    better: ClassVar[Mapping[str, str]] = {"generated_below": "higher", "real_above": "higher"}
    generates: ClassVar[bool] = True

    def __init__(self, *, classifier: str = "classifier", images: Annotated[int, gancore.Range(1)] = 1000) -> None:
        self.classifier = classifier
        self.images = images

    def prepare(self, run: Run) -> None:
        """Refuse a run that trains no such classifier.

        Raises:
            GancoreError: It does not.
        """
        _classifier(run, self.classifier)

    def score_run(self, run: Run) -> dict[str, Any]:
        """Return ``generated_below`` and ``real_above``."""
        network = _classifier(run, self.classifier)
        real = load_split(run.plan.dataset, run.recipe.evaluation.split)[0][: self.images]
        generated = run.generate(run.latent(self.images, "complement"))
        below, above = (_logits(run, network, images).amax(1) for images in (generated, real))
        return {"generated_below": float((below < 0).double().mean()), "real_above": float((above > 0).double().mean())}

    def protocol(self) -> dict[str, Any]:
        """Return which classifier it is, and how many images of each kind."""
        return {"classifier": self.classifier, "images": self.images}


class AveragedAccuracy(gancore.Metric):
    """Share of the evaluation split's images that the average of the classifier's weights labels rightly.

    Salimans et al. 2016 score such an average (their public code). The update rule ``dsgan/semi-supervised`` keeps it where its
    setting `average` is above 0. Reports ``accuracy``, from 0 to 1.
    """

    better: ClassVar[Mapping[str, str]] = {"accuracy": "higher"}

    def __init__(self) -> None:
        self._protocol: dict[str, Any] = {}

    def prepare(self, run: Run) -> None:
        """Refuse a run whose update rule keeps no average.

        Raises:
            GancoreError: It keeps none.
        """
        loop = run.parts.loop
        if not isinstance(loop, SemiSupervised) or not loop.average:
            raise gancore.GancoreError(
                f"{run.recipe.name} keeps no average of its classifier's weights; set loop.average, e.g. to 0.9999, with the "
                "update rule dsgan/semi-supervised."
            )

    def score_run(self, run: Run) -> dict[str, Any]:
        """Return ``accuracy``.

        Raises:
            GancoreError: The update rule keeps no average.
        """
        self.prepare(run)
        loop, network = run.parts.loop, run.networks["classifier"]
        images, labels = load_split(run.plan.dataset, run.recipe.evaluation.split)
        assert isinstance(loop, SemiSupervised)
        with _weights(network, loop.averages()):
            right = _logits(run, network, images[:]).argmax(1).cpu() == labels
        self._protocol = {"average": loop.average, "images": len(labels)}
        return {"accuracy": float(right.double().mean())}

    def protocol(self) -> dict[str, Any]:
        """Return the decay of the average, and the number of images of the last score."""
        return self._protocol


@contextmanager
def _weights(network: nn.Module, values: list[Tensor]) -> Iterator[None]:
    """Give a network other weights, and in the end its own again."""
    parameters = list(network.parameters())
    own = [parameter.detach().clone() for parameter in parameters]
    try:
        _write(parameters, values)
        yield
    finally:
        _write(parameters, own)


@torch.no_grad()
def _write(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
