"""The batches of a run: which images take part, in which order they come, what samplers make of them, and which labels occur.

Each batch is a pure function of the seed and its draw's number: nothing to save, nothing to lose. Several processes share out
each batch, so that their number changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial

import attrs
import torch
from torch import Tensor

from gancore.contract import Drawn, Grouping, Images, Latent, Rows, Sampler, load_split
from gancore.errors import GancoreError, listed
from gancore.parallel import computed_on_host, derive, distributed, noise_for
from gancore.plan import Known, Plan
from gancore.recipe import Augmentation

EVERY = slice(None)

Selection = tuple[Rows, Tensor, Tensor | None]
"""Images, labels, and the relative frequency of each image, or None where all are equally frequent."""


def weighted_indices(cumulative: Tensor, number: int, noise: torch.Generator) -> Tensor:
    """Return indices (number,) int64, each as often as its weight says, of the weights' cumulative sums (M,) float64."""
    points = torch.rand(number, generator=noise, dtype=torch.float64, device=noise.device) * cumulative[-1]
    return torch.searchsorted(cumulative, points, right=True).clamp_(max=len(cumulative) - 1)


@attrs.frozen(eq=False)
class Labels:
    """The labels of the images that take part in a training, on the run's device.

    Attributes:
        values: Each once, in ascending order: classes (M,) or rows of attributes (M, A), int64.
        counts: Images of each (M,) float64; where samplers weigh the images, the sum of their weights.
    """

    values: Tensor
    counts: Tensor

    @classmethod
    def of(cls, labels: Tensor, weights: Tensor | None, device: torch.device | str = "cpu") -> Labels:
        """Return those of images with labels (N,) or (N, A), each drawn as often as its weight (N,) says."""
        values, places = labels.unique(dim=0 if labels.ndim > 1 else None, return_inverse=True)
        counts = torch.bincount(places, None if weights is None else weights.double(), len(values)).double()
        return cls(values[counts > 0].to(device), counts[counts > 0].to(device))

    def draw(self, latent: Latent, own: Tensor, noise: torch.Generator, number: int) -> Tensor:
        """Return `number` labels that go with latents, none of which never occurs.

        Args:
            latent: Has drawn the latents, and says how its labels are distributed.
            own: Labels that it has drawn itself; empty where it leaves that to core.
            noise: Where the latents came from.
            number: How many.
        """
        if latent.labels == "data":
            places = weighted_indices(self.counts.cumsum(0), number, noise)
        else:
            places = torch.randint(0, len(self.values), (number,), generator=noise, device=noise.device)
        drawn = self.values[places]
        if not len(own):
            return drawn
        return torch.where(torch.isin(own, self.values), own, drawn) if own.ndim == drawn.ndim == 1 else own


class IndexStream:
    """Indices of the images in each batch.

    Without weights every image comes once per epoch, in a fresh random order; batches run on across epochs, so all have
    the same size. With weights (N,) images are drawn independently, in proportion; `group` makes a group of each.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, *, weights: Tensor | None = None, group: Grouping | None = None
    ) -> None:
        self.group = group
        self.size, self.batch_size = size, batch_size
        self.seed = seed
        self._cumulative = None if weights is None else torch.cumsum(weights.double(), 0)
        # Only neighboring epochs are ever read together. Of a million images the wider type is megabytes for each of them.
        kind = torch.int32 if size < 2**31 else torch.int64
        noise = partial(noise_for, "cpu", seed, "epoch")
        self._order = lru_cache(maxsize=2)(lambda epoch: torch.randperm(size, generator=noise(epoch)).to(kind))

    def indices(self, draw: int) -> Tensor:
        """Return the indices (batch_size,), or (batch_size, k) of groups, int64 of one draw, on the CPU."""
        first = self._first(draw)
        return first if self.group is None else self.group(first, noise_for("cpu", self.seed, "group", draw, 0))

    def _first(self, draw: int) -> Tensor:
        if self._cumulative is not None:
            return weighted_indices(self._cumulative, self.batch_size, noise_for("cpu", self.seed, "draw", draw, 0))
        epoch, start = divmod(draw * self.batch_size, self.size)
        stop = start + self.batch_size
        if stop <= self.size:
            return self._order(epoch)[start:stop].long()
        return torch.cat([self._order(epoch + later) for later in range(-(-stop // self.size))])[start:stop].long()


class ImageStream:
    """An endless stream of batches of some images, which lie on the device where they fit.

    They are (N, C, H, W) uint8, or float32 in [-1, 1], possibly memory-mapped or read by index, and their labels (N,) int64.
    """

    RESIDENT_SHARE = 0.25
    """Share of a GPU's free memory that the images may take; on a CPU they always stay where they are."""

    def __init__(
        self, images: Rows, labels: Tensor, indices: IndexStream, device: torch.device, augmentation: Augmentation
    ) -> None:
        size = images.shape.numel() * images.dtype.itemsize
        fits = device.type == "cuda" and size < self.RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
        self.images = images.to(device) if fits and isinstance(images, Tensor) else images
        self.reader: Callable[[int], Tensor] | None = None
        self.labels = labels.to(device)
        self.indices, self.device, self.augmentation = indices, device, augmentation

    def batch(self, draw: int, noise: torch.Generator, rows: slice = EVERY) -> tuple[Tensor, Tensor]:
        """Return the images (N, C, H, W) float32 in [-1, 1], channels last, and the labels (N,) of one draw.

        The `rows` that are wanted are as they would be in the whole; `noise` is for the augmentation.
        """
        whole = computed_on_host(self.indices.indices, draw)
        indices = whole[rows].flatten()
        local = indices.to(self.device, non_blocking=True)
        if self.reader is None:
            images = self.images[local if self.images.device == self.device else indices]
        else:
            images = computed_on_host(self.reader, draw)
        images = images.to(self.device, non_blocking=True)
        images, labels = to_unit(self._augmented(images, noise, whole.shape, rows)), self.labels[local]
        return (images, labels) if whole.ndim == 1 else (images.unflatten(0, (-1, whole.shape[1])), labels[:: whole.shape[1]])

    def _augmented(self, images: Tensor, noise: torch.Generator, whole: torch.Size, rows: slice) -> Tensor:
        n, _, height, width = images.shape
        padding = self.augmentation.crop_padding
        if padding:
            padded = torch.nn.functional.pad(images, (padding,) * 4)
            top, left = torch.randint(0, 2 * padding + 1, (2, *whole), generator=noise, device=self.device)[:, rows].flatten(1)
            vertical = top[:, None, None] + torch.arange(height, device=self.device)[None, :, None]
            horizontal = left[:, None, None] + torch.arange(width, device=self.device)[None, None, :]
            number = torch.arange(n, device=self.device)[:, None, None]
            images = padded[number, :, vertical, horizontal].permute(0, 3, 1, 2)
        if self.augmentation.flip:
            mirrored = torch.rand(whole, generator=noise, device=self.device)[rows].flatten() < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images


class Batches:
    """Training images after the samplers' selection, batch by batch; they are read when first asked for."""

    def __init__(self, plan: Plan, samplers: Mapping[str, Sampler], device: torch.device) -> None:
        self.plan, self.samplers, self.device = plan, samplers, device
        self.seed, self.processes = plan.recipe.run.seed, distributed.world_size()
        # A sampler may relate the images of a batch to each other, so it sees all of them, and each process cuts its rows
        # out of the result. Where none changes a drawn batch, no process reads the others' images.
        self.changing = {label: sampler for label, sampler in samplers.items() if type(sampler).draw is not Sampler.draw}
        apart = self.processes > 1 and not self.changing
        self.rows = distributed.own_slice(plan.recipe.run.batch_size) if apart else EVERY
        self._declared = {
            what: {side for sampler in samplers.values() for side in getattr(sampler, what)}
            for what in ("adds", "joins", "blends")
        }
        self._declared["adds"].update(plan.sources)

    @cached_property
    def selection(self) -> Selection:
        """Training images, labels, and the relative frequency of each image, after the samplers' selection."""
        return self._select(*load_split(self.plan.dataset, "train"), None, None)

    @cached_property
    def labels(self) -> Labels:
        """The labels of the training images."""
        return Labels.of(*self.selection[1:], self.device)

    @property
    def class_counts(self) -> list[int]:
        """Training images per class, after samplers; none where they have attributes."""
        if isinstance(self.plan.dataset, Known):
            return self.plan.dataset.class_counts
        return [] if self.plan.info.attributes else torch.bincount(self.selection[1], minlength=self.plan.info.classes).tolist()

    @cached_property
    def stream(self) -> ImageStream:
        """The training images, batch by batch."""
        return self._stream(*self.selection, self.seed)

    @cached_property
    def sources(self) -> dict[str, ImageStream]:
        """The further streams of images; one that shares the data begins with what the samplers leave of them."""
        streams = {}
        for label, source in self.plan.sources.items():
            start = self.selection if source is self.plan.dataset else (*load_split(source, "train"), None)
            images, labels, weights = self._select(*start, label)
            # A source that leaves nothing of the data out needs no second copy of them on the device.
            images = self.stream.images if images is self.selection[0] else images
            streams[label] = self._stream(images, labels, weights, derive(self.seed, "source", label))
        return streams

    def draw(self, number: int) -> tuple[Drawn, int]:
        """Return this process's rows of a batch, as samplers leave it, and how many images the whole of it has.

        Raises:
            GancoreError: A sampler makes what it does not declare, or what several processes can't share.
        """
        drawn = Drawn(
            *self.stream.batch(number, noise_for(self.device, self.seed, "augmentation", number, 0), self.rows),
            sides={
                label: stream.batch(number, noise_for(self.device, self.seed, "augmentation", label, number, 0), self.rows)
                for label, stream in self.sources.items()
            },
        )
        if not self.changing:
            return drawn, self.plan.recipe.run.batch_size
        for label, sampler in self.changing.items():
            drawn = sampler.draw(drawn, noise_for(self.device, self.seed, "sampler", label, number, 0))
        self._check_declared(drawn)
        return (drawn if self.processes == 1 else distributed.own_rows(drawn)), len(drawn.real)

    def _select(self, images: Rows, labels: Tensor, weights: Tensor | None, of: str | None) -> Selection:
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
        if not torch.equal(chosen, torch.arange(len(images))):
            images = images.chosen(chosen) if isinstance(images, Images) else images[chosen]
        return images, labels, weights

    def _stream(self, images: Rows, labels: Tensor, weights: Tensor | None, seed: int) -> ImageStream:
        run = self.plan.recipe.run
        acting = [self.samplers[label] for label in self.plan.acting]
        group = next((sampler.grouping(labels, weights) for sampler in acting if sampler.group > 1), None)
        indices = IndexStream(len(labels), run.batch_size, seed, weights=weights, group=group)
        stream = ImageStream(images, labels, indices, self.device, self.plan.recipe.augmentation)
        if isinstance(images, Images):
            rows = self.rows
            stream.reader = images.reader(lambda draw: indices.indices(draw)[rows].flatten(), self.device, run.workers)
        return stream

    def _check_declared(self, drawn: Drawn) -> None:
        for what, sides in {"adds": drawn.sides, "joins": drawn.joined, "blends": drawn.blended}.items():
            undeclared = sides.keys() - self._declared[what]
            if undeclared:
                raise GancoreError(
                    f"{self.plan.recipe.name}: one of the samplers {listed(self.changing)} gives the sides "
                    f"{listed(undeclared)}, which it does not declare; its author must name them in its `{what}`."
                )


def to_unit(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [-1, 1], channels last; images of floats are so already."""
    unit = images if images.is_floating_point() else images.float().div_(127.5).sub_(1.0)
    return unit.contiguous(memory_format=torch.channels_last)


def to_uint8(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8; values outside are clipped."""
    return images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
