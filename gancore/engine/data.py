"""Training data on the device, and the index stream that says which images make up a batch.

Which images a batch holds is a pure function of (seed, draw): nothing to save, nothing to lose. Several processes share out
each batch, so that their number changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gancore.parallel import computed_on_host, noise_for
from gancore.recipe import Augmentation

EVERY = slice(None)


class IndexStream:
    """Indices of the images in each batch.

    Without weights every image comes once per epoch, in a fresh random order; batches run on across epochs, so all have
    the same size. With weights images are drawn independently, in proportion.

    Args:
        size: Number of images.
        batch_size: Images per batch.
        seed: The run's seed.
        weights: Relative frequency of each image (N,), or None.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        *,
        weights: Tensor | None = None,
    ) -> None:
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self._cumulative = None if weights is None else torch.cumsum(weights.double(), 0)
        self._orders: dict[int, Tensor] = {}

    def indices(self, draw: int) -> Tensor:
        """Return the indices (batch_size,) int64 of one draw, on the CPU."""
        if self._cumulative is not None:
            return self._weighted(self._cumulative, draw)
        position = draw * self.batch_size
        pieces = []
        missing = self.batch_size
        while missing:
            epoch, offset = divmod(position, self.size)
            piece = self._order(epoch)[offset : offset + missing]
            pieces.append(piece)
            position += len(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _weighted(self, cumulative: Tensor, draw: int) -> Tensor:
        noise = noise_for("cpu", self.seed, "draw", draw, 0)
        points = torch.rand(self.batch_size, generator=noise, dtype=torch.float64) * cumulative[-1]
        return torch.searchsorted(cumulative, points, right=True).clamp_(max=self.size - 1)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            # Only neighboring epochs are ever read together.
            self._orders = {e: order for e, order in self._orders.items() if abs(e - epoch) <= 1}
            self._orders[epoch] = torch.randperm(self.size, generator=noise_for("cpu", self.seed, "epoch", epoch))
        return self._orders[epoch]


class ImageStore:
    """Images and labels that take part in the training, on the device where they fit.

    Args:
        images: (N, C, H, W) uint8, or float32 in [-1, 1], possibly memory-mapped.
        labels: (N,) int64.
        device: Where batches are wanted.
        augmentation: Mirroring and cropping.
    """

    RESIDENT_SHARE = 0.25
    """Share of a GPU's free memory that the images may take; on a CPU they always stay where they are."""

    def __init__(self, images: Tensor, labels: Tensor, device: torch.device, augmentation: Augmentation) -> None:
        self.device = device
        self.augmentation = augmentation
        self.labels = labels.to(device)
        self.images = images.to(device) if self._fits(images, device) else images

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def _fits(cls, images: Tensor, device: torch.device) -> bool:
        if device.type != "cuda":
            return False
        free, _ = torch.cuda.mem_get_info(device)
        return images.numel() * images.element_size() < cls.RESIDENT_SHARE * free

    def batch(self, indices: Tensor, noise: torch.Generator | None, part: slice = EVERY) -> tuple[Tensor, Tensor]:
        """Return images (N, C, H, W) float32 in [-1, 1], channels last, and labels (N,).

        Args:
            indices: Which images make up the batch, on the CPU.
            noise: For the augmentation; None leaves the images as they are.
            part: Rows of the batch that are wanted; they are as they would be in the whole.
        """
        number = len(indices)
        indices = indices[part]
        local = indices.to(self.device, non_blocking=True)
        picked = self.images[local if self.images.device == self.device else indices].to(self.device, non_blocking=True)
        if noise is not None:
            picked = self._augment(picked, noise, number, part)
        return to_unit(picked), self.labels[local]

    def _augment(self, images: Tensor, noise: torch.Generator, number: int, part: slice) -> Tensor:
        n, _, height, width = images.shape
        padding = self.augmentation.crop_padding
        if padding:
            padded = torch.nn.functional.pad(images, (padding,) * 4)
            top, left = torch.randint(0, 2 * padding + 1, (2, number), generator=noise, device=self.device)[:, part]
            rows = top[:, None, None] + torch.arange(height, device=self.device)[None, :, None]
            columns = left[:, None, None] + torch.arange(width, device=self.device)[None, None, :]
            images = padded[torch.arange(n, device=self.device)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
        if self.augmentation.flip:
            mirrored = torch.rand(number, generator=noise, device=self.device)[part] < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        return images


class ImageStream:
    """An endless stream of batches from one store.

    Args:
        store: The images.
        indices: Which of them make up each batch.
    """

    def __init__(self, store: ImageStore, indices: IndexStream) -> None:
        self.store = store
        self.indices = indices

    def batch(self, draw: int, noise: torch.Generator, part: slice = EVERY) -> tuple[Tensor, Tensor]:
        """Return the images and labels of one draw, augmented; of some of its rows alone where a part is given."""
        return self.store.batch(computed_on_host(self.indices.indices, draw), noise, part)


def to_unit(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [-1, 1], channels last; images of floats are so already."""
    if images.is_floating_point():
        return images.contiguous(memory_format=torch.channels_last)
    return images.float().div_(127.5).sub_(1.0).contiguous(memory_format=torch.channels_last)


def to_uint8(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8; values outside are clipped."""
    return images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
