"""The batches of a run: which images take part, and what is drawn of them. Each is a pure function of its draw's number."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import attrs
import torch
from torch import Tensor

from gancore.contract import Drawn, Sampler
from gancore.engine.data import ImageStore, ImageStream, IndexStream
from gancore.errors import GancoreError, listed
from gancore.parallel import derive, distributed, noise_for
from gancore.plan import Plan

Selection = tuple[Tensor, Tensor, Tensor | None]
"""Images, labels, and the relative frequency of each image, or None where all are equally frequent."""


class Batches:
    """Training images after the samplers' selection, batch by batch.

    Args:
        plan: The plan, whose data and sources are read when first asked for.
        samplers: Its samplers.
        device: Where batches are wanted.
    """

    def __init__(self, plan: Plan, samplers: Mapping[str, Sampler], device: torch.device) -> None:
        self.plan = plan
        self.samplers = samplers
        self.device = device
        self.seed = plan.recipe.run.seed
        # A sampler may relate the images of a batch to each other, so it sees all of them, and each process cuts its rows
        # out of the result. Where none changes a drawn batch, no process reads the others' images.
        self.changing = {label: sampler for label, sampler in samplers.items() if type(sampler).draw is not Sampler.draw}
        adds, joins, blends = (
            {side for sampler in samplers.values() for side in getattr(sampler, what)} for what in ("adds", "joins", "blends")
        )
        self._declared = ({*plan.sources, *adds}, joins, blends)

    @cached_property
    def selection(self) -> Selection:
        """Training images, labels, and the relative frequency of each image, after the samplers' selection."""
        return self._select(*self.plan.dataset.load("train"), None, None)

    @property
    def class_counts(self) -> list[int]:
        """Training images per class, after samplers."""
        return torch.bincount(self.selection[1], minlength=self.plan.info.classes).tolist()

    @cached_property
    def stream(self) -> ImageStream:
        """The training images, batch by batch."""
        return self._stream(self.selection, self.seed)

    @cached_property
    def sources(self) -> dict[str, ImageStream]:
        """The further streams of images; one that shares the data begins with what the samplers leave of them."""
        streams = {}
        for label, source in self.plan.sources.items():
            start = self.selection if source is self.plan.dataset else (*source.load("train"), None)
            streams[label] = self._stream(self._select(*start, label), derive(self.seed, "source", label))
        return streams

    def draw(self, number: int) -> tuple[Drawn, int]:
        """Return this process's rows of a batch, as samplers leave it, and how many images the whole of it has.

        Raises:
            GancoreError: A sampler makes what it does not declare, or what several processes can't share.
        """
        whole = self.plan.recipe.run.batch_size
        wanted = slice(None) if self.changing else distributed.own_slice(whole)
        drawn = Drawn(*self.stream.batch(number, noise_for(self.device, self.seed, "augmentation", number, 0), wanted))
        if self.plan.sources:
            drawn.sides = {
                label: stream.batch(number, noise_for(self.device, self.seed, "augmentation", label, number, 0), wanted)
                for label, stream in self.sources.items()
            }
        if not self.changing:
            return drawn, whole
        for label, sampler in self.changing.items():
            drawn = sampler.draw(drawn, noise_for(self.device, self.seed, "sampler", label, number, 0))
        self._check_declared(drawn)
        whole = len(drawn.real)
        return (drawn if distributed.world_size() == 1 else _own_rows(drawn)), whole

    def _select(self, images: Tensor, labels: Tensor, weights: Tensor | None, of: str | None) -> Selection:
        """Return what the samplers of the data (None) or of a source leave of some images."""
        samplers = {label: sampler for label, sampler in self.samplers.items() if self.plan.samplers[label].keys.of == of}
        chosen = torch.arange(len(labels))
        for label, sampler in samplers.items():
            try:
                chosen = chosen[sampler.select(labels[chosen], self.seed).cpu()]
            except GancoreError as error:
                raise GancoreError(f"{self.plan.samplers[label].where}: {error}") from error
            if len(chosen) == 0:
                raise GancoreError(f"{self.plan.samplers[label].where} leaves no image of the {len(labels)}; select more.")
        labels = labels[chosen]
        weights = None if weights is None else weights[chosen]
        for sampler in samplers.values():
            frequencies = sampler.weights(labels)
            if frequencies is not None:
                weights = frequencies.cpu() if weights is None else weights * frequencies.cpu()
        if len(chosen) != len(images):
            images = images[chosen]
        return images, labels, weights

    def _stream(self, selection: Selection, seed: int) -> ImageStream:
        images, labels, weights = selection
        # A source that leaves nothing of the data out needs no second copy of them on the device.
        shared = seed != self.seed and images is self.selection[0]
        recipe = self.plan.recipe
        store = self.stream.store if shared else ImageStore(images, labels, self.device, recipe.augmentation)
        return ImageStream(store, IndexStream(len(labels), recipe.run.batch_size, seed, weights=weights))

    def _check_declared(self, drawn: Drawn) -> None:
        makes = (drawn.sides, drawn.joined, drawn.blended)
        for what, sides, declared in zip(("adds", "joins", "blends"), makes, self._declared, strict=True):
            if not sides.keys() <= declared:
                raise GancoreError(
                    f"{self.plan.recipe.name}: one of the samplers {listed(self.changing)} gives the sides "
                    f"{listed(sides.keys() - declared)}, which it does not declare; its author must name them in its `{what}`."
                )


def _own_rows(drawn: Drawn) -> Drawn:
    """Return this process's rows of a drawn batch."""

    def own(value: Any) -> Any:
        if isinstance(value, Tensor):
            return distributed.own_rows(value)
        return {side: (own(one), own(other)) for side, (one, other) in value.items()}

    return attrs.evolve(drawn, **{name: own(value) for name, value in attrs.asdict(drawn, recurse=False).items()})
