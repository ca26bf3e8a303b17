"""Evaluation: one stream of generated images feeds every metric, and every score says how it was made.

Several processes share out the work on images: each generates its rows of a batch and sends them through the networks. Rank 0
collects the rows in their order and feeds the metrics, so that a score does not depend on the number of processes.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch import Tensor

from gancore import GancoreError, Metric, Rows, Translator, __version__
from gancore.tools import (
    collectives,
    did_you_mean,
    distributed,
    evaluating,
    fingerprint,
    finite,
    listed,
    load_split,
    parameters_of,
    shown,
    to_uint8,
    to_unit,
)
from gancore_training.contents import digest_of
from gancore_training.label_tables import distribution
from gancore_training.real_statistics import WORTH_KEEPING, KnownStatistics
from gancore_training.run_folder import RunFolder

if TYPE_CHECKING:
    from gancore.tools import Run


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

    @property
    def warnings(self) -> list[str]:
        """What is to be known of the scores, by the metrics' protocols."""
        return [f"warning: {label}: {one['warning']}" for label, one in self.protocols.items() if "warning" in one]

    def write(self, folder: RunFolder, iteration: int) -> None:
        """Append the scores of an iteration to a run's folder."""
        entry = {"iteration": iteration, "scores": self.values, "protocols": self.protocols, "better": self.better}
        folder.append(folder.scores, {**entry, "seconds": round(self.seconds, 4)})


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
        self._chosen = {label: metric for label, metric in planned.items() if only is None or label in only}
        self._build()
        self._check_numbers()
        self._heed: Callable[[], None] = lambda: None

    def _build(self) -> None:
        parts = self.run.parts
        self.metrics: dict[str, Metric] = {k: each.build(parts.context(each.cls)) for k, each in self._chosen.items()}
        for label, metric in self._with("prepare").items():
            try:
                metric.prepare(self.run)
            except GancoreError as error:
                raise GancoreError(f"{self._chosen[label].where}: {error}") from error
        self._seen_real = False

    def _check_numbers(self) -> None:
        """Refuse fewer images than a metric needs."""
        settings = self.run.recipe.evaluation
        for label, metric in self.metrics.items():
            where = f"{self._chosen[label].where} needs at least {metric.least} images of each kind"
            if hasattr(metric, "update") and settings.samples < metric.least:
                raise GancoreError(f"{where}, and evaluation.samples is {settings.samples}; raise it.")
            if not hasattr(metric, "update_real"):
                continue
            # Rank 0 alone downloads and prepares what is not there yet.
            number = distributed.on_rank_zero(lambda: len(self._real[1]))
            if number < metric.least:
                raise GancoreError(f"{where}, and the split {settings.split!r} has {number}; choose another evaluation.split.")

    def rehearse(self) -> None:
        """Give every metric a batch, so that one that can't score this run is refused before the run is trained.

        Raises:
            GancoreError: A metric refuses what it gets.
        """
        for metric in (*self._with("update_real").values(), *self._with("update").values()):
            metric.reset()
        self._feed(self._with("update_real"), "update_real", itertools.islice(self._real_batches(), 1))
        self._feed(self._with("update"), "update", itertools.islice(self._generated(), 1))
        self._build()

    def _with(self, *methods: str) -> dict[str, Any]:
        """Return the metrics that have some methods."""
        return {label: metric for label, metric in self.metrics.items() if all(hasattr(metric, name) for name in methods)}

    def __call__(self, heed: Callable[[], None] = lambda: None) -> Scores:
        """Score the run's present weights. Of several processes all must call it together.

        Args:
            heed: Called first and before each batch of images; what it raises ends the evaluation.

        Raises:
            GancoreError: A metric fails, or images, or what a network makes of them, are not finite.
        """
        self._heed = heed
        heed()
        started = time.perf_counter()
        if not self._seen_real:
            self._see_real()
            self._seen_real = True
        of_generated = self._with("update")
        of_the_run = {label: metric for label, metric in self._with("update_real").items() if label not in of_generated}
        for metric in (*of_generated.values(), *of_the_run.values()):
            metric.reset()
        self._feed(of_generated, "update", self._generated())
        self._feed(of_the_run, "update_real", self._real_batches())
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

    @functools.cached_property
    def _real(self) -> tuple[Rows, Tensor]:
        return load_split(self.run.plan.dataset, self.run.recipe.evaluation.split)

    def _see_real(self) -> None:
        """Show the real images to the metrics that compare with them, where their statistics are not known from before."""
        comparing = self._with("update", "update_real")
        if not comparing:
            return
        known = KnownStatistics(*self._real, self.run.device)
        lasting = self._with("update", "update_real", "real_state", "load_real_state")
        keys = {label: self._statistics_key(label) for label in lasting}
        restored = distributed.on_rank_zero(lambda: [k for k, key in keys.items() if known.restore(comparing[k], key)])
        missing = {label: metric for label, metric in comparing.items() if label not in restored}
        started = time.perf_counter()
        self._feed(missing, "update_real", self._real_batches())
        if distributed.rank() == 0 and time.perf_counter() - started > WORTH_KEEPING:
            for label in missing.keys() & keys.keys():
                known.keep(missing[label], keys[label])

    def _statistics_key(self, label: str) -> dict[str, Any]:
        plan, metric = self.run.plan, self.metrics[label]
        key = {"metric": plan.metrics[label].full_name, **metric.protocol(), "gancore": __version__}
        if metric.network is not None:
            planned = plan.networks[metric.network]
            key |= {"network": planned.full_name, "network_settings": dict(planned.settings)}
            key["network_hash"] = self._fingerprints[metric.network]
        return {**key, "plugins": plan.registry.plugin_versions(self.run.recipe.plugins)}

    def _real_batches(self) -> Iterator[dict[str, Tensor]]:
        """Yield this process's rows of every batch of real images and their labels."""
        images, labels = self._real
        size = self.run.recipe.evaluation.batch_size
        for start in range(0, len(labels), size):
            own = distributed.own_slice(min(size, len(labels) - start))
            rows = slice(start + own.start, start + own.stop)
            yield {"images": to_unit(images[rows].to(self.run.device)), "labels": labels[rows].to(self.run.device)}

    def _generated(self) -> Iterator[dict[str, Tensor]]:
        """Yield this process's rows of every batch of generated images, and of what they are made from."""
        run, settings = self.run, self.run.recipe.evaluation
        images = self._real[0] if isinstance(run.generator(settings.weights), Translator) else None
        for start in range(0, settings.samples, settings.batch_size):
            number = min(settings.batch_size, settings.samples - start)
            latents = distributed.own_rows(run.latent(number, "evaluation", settings.seed, start))
            place = start + distributed.own_slice(number).start
            generated = run.generate(latents, settings.weights, images=images, start=place, total=settings.samples)
            rows = {"labels": latents.label, "z": latents.z, **latents.codes}
            if run.plan.group > 1:  # Each image of a group counts, with what its group is made from.
                generated = generated.flatten(0, 1)
                rows = {name: value.repeat_interleave(run.plan.group, 0) for name, value in rows.items()}
            # Metrics see what a saved image would hold.
            yield {"images": generated if run.plan.info.continuous else to_unit(to_uint8(generated)), **rows}

    def _feed(self, metrics: Mapping[str, Metric], method: str, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Give metrics, where there are some, what they ask for, batch by batch."""
        wanted = {label: parameters_of(getattr(metric, method)).keys() for label, metric in metrics.items()}
        asked = {name for names in wanted.values() for name in names}
        read = {m.network for k, m in metrics.items() if m.network is not None and wanted[k] & {"logits", "features"}}
        for batch in batches if metrics else ():
            self._heed()
            whole = {name: _joined(rows) for name, rows in batch.items() if name in asked}
            seen: dict[str | None, Any] = {name: self._read(name, batch["images"]) for name in sorted(read)}
            if distributed.rank():
                continue
            for label, metric in metrics.items():
                tensors = {**whole, **seen.get(metric.network, {})}
                getattr(metric, method)(**{name: tensors[name] for name in wanted[label] if name in tensors})

    def _read(self, label: str, images: Tensor) -> dict[str, Tensor]:
        network = self.run.networks[label]
        with evaluating(network):
            features = network.embed(images)
            logits = network.classify(features)
        # The largest of logits that are no numbers would be a class like any other.
        finite(f"{self.run.recipe.name}: what the network {label!r} makes of images", features, logits)
        return {"features": _joined(features.float()), "logits": _joined(logits.float())}

    def _protocol(self, label: str, metric: Metric) -> dict[str, Any]:
        run, settings = self.run, self.run.recipe.evaluation
        info = run.plan.info
        protocol: dict[str, Any] = {
            "metric": run.plan.metrics[label].full_name,
            "data": run.recipe.entries["data", "data"].declared.full_name,
            "image": [info.channels, info.image_size, info.image_size],
            # Of a data set that changes images, or holds those of another.
            **getattr(getattr(run.plan.dataset, "dataset", run.plan.dataset), "protocol", dict)(),
            **metric.protocol(),
        }
        if hasattr(metric, "update_real"):
            protocol |= {"real_split": settings.split, "real_images": len(self._real[1])}
        if hasattr(metric, "update"):
            weights = settings.weights if run.average is not None else "live"
            protocol |= {"samples": settings.samples * run.plan.group, "sample_seed": settings.seed, "weights": weights}
            protocol |= {"batch_norm": "eval", "images_as": "float32" if info.continuous else "8 bit"}
        if run.prior is not None and (hasattr(metric, "update") or metric.generates):
            protocol["fake_labels"] = distribution(run.batches.labels, run.prior, info.classes)
        if metric.network is not None:
            planned = run.plan.networks[metric.network]
            protocol["network"] = planned.full_name
            # Texts say where weights lie; what they are is the hash's.
            settings_of_it = {key: value for key, value in planned.settings.items() if not isinstance(value, str)}
            if settings_of_it:
                protocol["network_settings"] = settings_of_it
            if hasattr(metric, "update"):
                protocol["network_hash"] = self._fingerprints[metric.network]
        # Scores share a column where these are the same, and nowhere else.
        return {"id": digest_of(protocol, 8), **protocol}

    @functools.cached_property
    def _fingerprints(self) -> dict[str, str]:
        """The fingerprint of each network that metrics of generated images use."""
        labels = {metric.network for metric in self._with("update").values() if metric.network is not None}
        return {label: fingerprint(self.run.networks[label]) for label in labels}


def check_keep_best(run: Run, evaluator: Evaluator | None) -> None:
    """Refuse a ``run.keep_best`` by which nothing would be kept.

    Raises:
        GancoreError: The recipe has no such score, or is scored at its end alone.
    """
    name, every = run.recipe.run.keep_best, run.recipe.run.evaluate_every
    metrics = {} if evaluator is None else evaluator.metrics
    known = [f"{label}/{value}" for label, metric in metrics.items() for value in metric.better]
    if name and name not in known:
        raise GancoreError(
            f"{run.recipe.name}: run.keep_best = {shown(name)} is no score of its metrics{did_you_mean(name, known)} "
            f"(those that tell what is better: {listed(known)})."
        )
    if name and not every:
        raise GancoreError(
            f"{run.recipe.name}: run.keep_best keeps nothing where only the last iteration is scored; set run.evaluate_every."
        )


def _joined(rows: Tensor) -> Tensor:
    """Return the rows of all processes, in their order."""
    pieces = collectives.gather_list(rows)
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
