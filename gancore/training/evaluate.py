"""Evaluation: one stream of generated images feeds every metric, and every score says how it was made.

Several processes share out the work on images: each generates its rows of a batch and sends them through the networks. Rank 0
collects the rows in their order and feeds the metrics, so that a score does not depend on the number of processes.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gancore.contract import Latents, Metric, Translator, settings_of
from gancore.engine import evaluating, to_uint8, to_unit
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.parallel import collectives, distributed
from gancore.plan import parameters_of
from gancore.training.protocol import Scores, fingerprint, identified
from gancore.training.real_statistics import WORTH_KEEPING, KnownStatistics
from gancore.training.run_folder import RunFolder
from gancore.version import __version__

if TYPE_CHECKING:
    from gancore.engine import Run


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
        self.metrics: dict[str, Metric] = {}
        for label, built in planned.items():
            if only is None or label in only:
                counts = "class_counts" in settings_of(built.cls)
                self.metrics[label] = built.build(run.parts.context(counts=counts))
        for label, metric in self.metrics.items():
            if hasattr(metric, "prepare"):
                try:
                    metric.prepare(run)
                except GancoreError as error:
                    raise GancoreError(f"{planned[label].where}: {error}") from error
        self._fingerprints: dict[str, str] = {}
        self._real_images = 0
        self._seen_real = False

    def __call__(self) -> Scores:
        """Score the run's present weights. Of several processes all must call it together."""
        started = time.perf_counter()
        if not self._seen_real:
            self._see_real()
        generated = {label: m for label, m in self.metrics.items() if hasattr(m, "update")}
        for metric in generated.values():
            metric.reset()
        if generated:
            self._feed(generated, "update", self._generated())
        for label, metric in self.metrics.items():
            if label not in generated and not hasattr(metric, "score_run"):
                metric.reset()
                real = self.run.plan.dataset.load(self.run.recipe.evaluation.split)
                self._feed({label: metric}, "update_real", self._real_batches(*real))
        values, protocols = distributed.on_rank_zero(self._compute)
        better = {f"{label}/{name}": direction for label, m in self.metrics.items() for name, direction in m.better.items()}
        return Scores(values, protocols, better, time.perf_counter() - started)

    def _compute(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        values: dict[str, Any] = {}
        for label, metric in self.metrics.items():
            scores = metric.score_run(self.run) if hasattr(metric, "score_run") else metric.compute()
            values |= {f"{label}/{name}": value for name, value in scores.items()}
        # Only after it has scored can a metric say how it did.
        return values, {label: self._protocol(label, metric) for label, metric in self.metrics.items()}

    def _see_real(self) -> None:
        """Show the real images to the metrics that compare with them, where their statistics are not known from before."""
        run = self.run
        wanting = {k: m for k, m in self.metrics.items() if hasattr(m, "update_real") and hasattr(m, "update")}
        if wanting:
            images, labels = run.plan.dataset.load(run.recipe.evaluation.split)
            known = KnownStatistics(images, labels, run.device)
            keys = {label: self._statistics_key(label, metric) for label, metric in wanting.items()}
            restored = distributed.on_rank_zero(lambda: [k for k, metric in wanting.items() if known.restore(metric, keys[k])])
            missing = {label: metric for label, metric in wanting.items() if label not in restored}
            started = time.perf_counter()
            if missing:
                self._feed(missing, "update_real", self._real_batches(images, labels))
            self._real_images = len(labels)
            if distributed.rank() == 0 and time.perf_counter() - started > WORTH_KEEPING:
                for label, metric in missing.items():
                    known.keep(metric, keys[label])
        self._seen_real = True

    def _statistics_key(self, label: str, metric: Metric) -> dict[str, Any]:
        plan = self.run.plan
        key = {"metric": plan.metrics[label].full_name, **metric.protocol(), "gancore": __version__}
        if metric.network is not None:
            planned = plan.networks[metric.network]
            key |= {"network": planned.full_name, "network_settings": dict(planned.settings)}
            key["network_hash"] = self._fingerprint(metric.network)
        return {**key, "plugins": plan.registry.plugin_versions(self.run.recipe.plugins)}

    def _real_batches(self, images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's rows of every batch of real images, with their labels."""
        run = self.run
        self._real_images = len(labels)
        size = run.recipe.evaluation.batch_size
        for start in range(0, len(labels), size):
            pixels, label = (distributed.own_rows(rows[start : start + size]).to(run.device) for rows in (images, labels))
            yield to_unit(pixels), label

    def _generated(self) -> Iterator[tuple[Tensor, Tensor]]:
        run, settings = self.run, self.run.recipe.evaluation
        translated = isinstance(run.generator(settings.weights), Translator)
        images = run.plan.dataset.load(settings.split)[0] if translated else None
        for start in range(0, settings.samples, settings.batch_size):
            number = min(settings.batch_size, settings.samples - start)
            drawn, own = run.latent(number, "evaluation", settings.seed, start), distributed.own_slice(number)
            latents = Latents(drawn.z[own], drawn.label[own])
            generated = run.generate(latents, settings.weights, images=images, start=start + own.start, total=settings.samples)
            # Metrics see what a saved image would hold.
            yield generated if run.plan.info.continuous else to_unit(to_uint8(generated)), latents.label

    def _feed(self, metrics: Mapping[str, Metric], method: str, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Give metrics what they ask for, batch by batch."""
        wanted = {label: parameters_of(getattr(metric, method)).keys() for label, metric in metrics.items()}
        asked = {name for names in wanted.values() for name in names} & {"images", "labels"}
        read = {m.network for k, m in metrics.items() if m.network is not None and wanted[k] & {"logits", "features"}}
        for images, labels in batches:
            whole = {name: _joined({"images": images, "labels": labels}[name]) for name in sorted(asked)}
            seen = {network: self._read(self.run.networks[network], images) for network in sorted(read)}
            if distributed.rank():
                continue
            for label, metric in metrics.items():
                tensors = dict(whole)
                if metric.network in seen:
                    tensors["features"], tensors["logits"] = seen[metric.network]
                getattr(metric, method)(**{name: tensors[name] for name in wanted[label] if name in tensors})

    @staticmethod
    def _read(network: Any, images: Tensor) -> tuple[Tensor, Tensor]:
        with evaluating(network):
            features = network.embed(images)
            logits = network.classify(features)
        return _joined(features.float()), _joined(logits.float())

    def _protocol(self, label: str, metric: Metric) -> dict[str, Any]:
        run, settings = self.run, self.run.recipe.evaluation
        info = run.plan.info
        protocol: dict[str, Any] = {
            "metric": run.plan.metrics[label].full_name,
            "data": run.recipe.entries["data", "data"].declared.full_name,
            "image": [info.channels, info.image_size, info.image_size],
            **metric.protocol(),
        }
        if hasattr(metric, "update_real"):
            protocol |= {"real_split": settings.split, "real_images": self._real_images}
        if hasattr(metric, "update"):
            weights = settings.weights if run.average is not None else "live"
            protocol |= {"samples": settings.samples, "sample_seed": settings.seed, "weights": weights}
            images_as = "float32" if info.continuous else "8 bit"
            labels = "" if run.prior is None else run.prior.labels
            protocol |= {"batch_norm": "eval", "images_as": images_as, "fake_labels": labels}
        if metric.network is not None:
            planned = run.plan.networks[metric.network]
            protocol["network"] = planned.full_name
            # Texts say where weights lie; what they are is the hash's.
            settings_of_it = {key: value for key, value in planned.settings.items() if not isinstance(value, str)}
            if settings_of_it:
                protocol["network_settings"] = settings_of_it
            if hasattr(metric, "update"):
                protocol["network_hash"] = self._fingerprint(metric.network)
        return identified(protocol)

    def _fingerprint(self, label: str) -> str:
        if label not in self._fingerprints:
            self._fingerprints[label] = fingerprint(self.run.networks[label])
        return self._fingerprints[label]


def _joined(rows: Tensor) -> Tensor:
    """Return the rows of all processes, in their order."""
    pieces = collectives.gather_list(rows)
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def write_scores(folder: RunFolder, iteration: int, scores: Scores) -> None:
    """Append the scores of an evaluation to a run's folder."""
    entry = {"iteration": iteration, "scores": scores.values, "protocols": scores.protocols, "better": scores.better}
    folder.append(folder.scores, {**entry, "seconds": round(scores.seconds, 2)})
