"""Evaluation: one stream of generated images feeds every metric, and every score says how it was made."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor, nn

from gancore.components import Metric, Translator
from gancore.data import to_uint8, to_unit
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.phase import generate
from gancore.plan import construct, parameters_of

if TYPE_CHECKING:
    from gancore.run import Run


@attrs.frozen
class Scores:
    """What one evaluation gave.

    Attributes:
        values: ``metric/value`` -> number or list of numbers.
        protocols: Metric label -> everything that makes two of its values comparable, with an ``id``.
        better: ``metric/value`` -> ``lower`` or ``higher``.
        seconds: How long the evaluation took.
    """

    values: dict[str, Any]
    protocols: dict[str, dict[str, Any]]
    better: dict[str, str]
    seconds: float


class Evaluator:
    """The metrics of a run. Real statistics are computed once and kept.

    Args:
        run: The run whose generator (or, without one, classifier) is scored.
        only: Labels of the metrics to compute; None for all.
    """

    def __init__(self, run: Run, only: Collection[str] | None = None) -> None:
        self.run = run
        planned = run.plan.metrics
        for label in only or ():
            if label not in planned:
                raise GancoreError(
                    f"{run.recipe.name} has no metric {label!r}{did_you_mean(label, planned)} (its metrics: {listed(planned)})."
                )
        context = run.context()
        self.metrics: dict[str, Metric] = {
            label: construct(built, context) for label, built in planned.items() if only is None or label in only
        }
        self._fingerprints: dict[str, str] = {}
        self._real_images = 0
        self._seen_real = False

    def __call__(self) -> Scores:
        """Score the run's present weights."""
        started = time.perf_counter()
        if not self._seen_real:
            self._see_real()
        generated = {label: m for label, m in self.metrics.items() if hasattr(m, "update")}
        for metric in generated.values():
            metric.reset()
        if generated:
            for images, labels in self._generated():
                self._feed(generated, "update", images, labels)
        values: dict[str, Any] = {}
        better: dict[str, str] = {}
        for label, metric in self.metrics.items():
            if label not in generated:
                metric.reset()
                self._see(self._real_batches(), {label: metric}, "update_real")
            values |= {f"{label}/{name}": value for name, value in metric.compute().items()}
            better |= {f"{label}/{name}": direction for name, direction in metric.better.items()}
        protocols = {label: self._protocol(label, metric) for label, metric in self.metrics.items()}
        return Scores(values, protocols, better, time.perf_counter() - started)

    def _see_real(self) -> None:
        wanting = {k: m for k, m in self.metrics.items() if hasattr(m, "update_real") and hasattr(m, "update")}
        if wanting:
            self._see(self._real_batches(), wanting, "update_real")
        self._seen_real = True

    def _see(self, batches: Iterable[tuple[Tensor, Tensor]], metrics: dict[str, Metric], method: str) -> None:
        for images, labels in batches:
            self._feed(metrics, method, images, labels)

    def _real_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        run = self.run
        images, labels = run.plan.dataset.load(run.recipe.evaluation.split)
        self._real_images = len(labels)
        size = run.recipe.evaluation.batch_size
        for start in range(0, len(labels), size):
            part = slice(start, start + size)
            yield to_unit(images[part].to(run.device)), labels[part].to(run.device)

    def _generated(self) -> Iterator[tuple[Tensor, Tensor]]:
        run, settings = self.run, self.run.recipe.evaluation
        network = run.generator(settings.weights)
        training = network.training
        network.eval()
        given = run.plan.dataset.load(settings.split)[0] if isinstance(network, Translator) else None
        try:
            for start in range(0, settings.samples, settings.batch_size):
                number = min(settings.batch_size, settings.samples - start)
                z, label = run.latent(number, "evaluation", settings.seed, start)
                sources = None if given is None else _evenly(given, settings.samples, start, number).to(run.device)
                with torch.no_grad(), run.autocast():
                    images = generate(network, z, label, None if sources is None else to_unit(sources))
                # Metrics see what a saved image would hold.
                yield images.float() if run.plan.info.continuous else to_unit(to_uint8(images)), label
        finally:
            network.train(training)

    def _feed(self, metrics: dict[str, Metric], method: str, images: Tensor, labels: Tensor) -> None:
        seen: dict[str, tuple[Tensor, Tensor]] = {}
        for metric in metrics.values():
            wanted = parameters_of(getattr(metric, method))
            tensors: dict[str, Tensor] = {"images": images, "labels": labels}
            if metric.network is not None and wanted.keys() & {"logits", "features"}:
                if metric.network not in seen:
                    seen[metric.network] = self._read(self.run.networks[metric.network], images)
                tensors["features"], tensors["logits"] = seen[metric.network]
            getattr(metric, method)(**{name: tensors[name] for name in wanted if name in tensors})

    @staticmethod
    def _read(network: Any, images: Tensor) -> tuple[Tensor, Tensor]:
        training = network.training
        network.eval()
        with torch.no_grad():
            features = network.embed(images)
            logits = network.classify(features)
        network.train(training)
        return features.float(), logits.float()

    def _protocol(self, label: str, metric: Metric) -> dict[str, Any]:
        run, settings = self.run, self.run.recipe.evaluation
        info = run.plan.info
        protocol: dict[str, Any] = {
            "metric": run.plan.metrics[label].part.declared.full_name,
            "data": run.recipe.parts["data", "data"].declared.full_name,
            "image": [info.channels, info.image_size, info.image_size],
            **metric.protocol(),
        }
        if hasattr(metric, "update_real"):
            protocol |= {"real_split": settings.split, "real_images": self._real_images}
        if hasattr(metric, "update"):
            weights = settings.weights if run.average is not None else "live"
            protocol |= {"samples": settings.samples, "sample_seed": settings.seed, "weights": weights}
            images_as = "float32" if info.continuous else "8 bit"
            protocol |= {"batch_norm": "eval", "images_as": images_as, "fake_labels": "uniform"}
        if metric.network is not None:
            protocol["network"] = run.plan.networks[metric.network].part.declared.full_name
            if hasattr(metric, "update"):
                protocol["network_hash"] = self._fingerprint(metric.network)
        text = json.dumps(protocol, sort_keys=True, default=str)
        return {"id": hashlib.blake2b(text.encode(), digest_size=4).hexdigest(), **protocol}

    def _fingerprint(self, label: str) -> str:
        if label not in self._fingerprints:
            self._fingerprints[label] = fingerprint(self.run.networks[label])
        return self._fingerprints[label]


def fingerprint(network: nn.Module) -> str:
    """Return twelve characters that change when any weight does."""
    digest = hashlib.blake2b(digest_size=6)
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def sample(
    run: Run, number: int, classes: Collection[int] = (), *, seed: int = 0, weights: str = "ema"
) -> tuple[Tensor, Tensor]:
    """Return generated images (number, C, H, W) in [-1, 1] on the CPU, and the labels they were asked for.

    Args:
        run: The run.
        number: How many.
        classes: Labels to ask a conditional generator for, in turn; all of them by default.
        seed: Of the latents.
        weights: ``ema`` or ``live``.

    Raises:
        GancoreError: A class that the data do not have.
    """
    known = run.plan.info.classes
    for asked in classes:
        if not 0 <= asked < known:
            raise GancoreError(f"there is no class {asked}: the data have the classes 0 to {known - 1}.")
    network = run.generator(weights)
    z, _ = run.latent(number, "samples", seed)
    wanted = torch.tensor(list(classes) or list(range(known)), device=run.device)
    label = wanted[torch.arange(number, device=run.device) % len(wanted)]
    given = run.selection[0] if isinstance(network, Translator) else None
    training = network.training
    network.eval()
    pieces = []
    for start in range(0, number, 250):
        part = slice(start, start + 250)
        sources = None if given is None else _evenly(given, number, start, len(z[part])).to(run.device)
        with torch.no_grad(), run.autocast():
            pieces.append(generate(network, z[part], label[part], None if sources is None else to_unit(sources)))
    network.train(training)
    return torch.cat(pieces).float().cpu(), label.cpu()


def _evenly(images: Tensor, total: int, start: int, number: int) -> Tensor:
    """Return images `start` to `start + number` of `total` that lie evenly over a set, whose order may be by class."""
    places = torch.arange(start, start + number) * len(images) // total
    return images[places]
