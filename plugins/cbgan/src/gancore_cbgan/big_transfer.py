"""BiT's ResNet (Kolesnikov et al. 2020, arXiv:1912.11370): the few-labels classifier of CBGAN, and how it is fine-tuned."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import attrs
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gancore
from gancore.tools import as_path, first_line

STAGES = (256, 512, 1024, 2048)
GROUPS = 32


class StdConv2d(nn.Conv2d):
    """Convolution whose filters are standardized to mean 0 and variance 1 first (Qiao et al. 2019, arXiv:1903.10520)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) as a convolution does."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-10)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class _Unit(nn.Module):
    """A pre-activation bottleneck, with the stride in its 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = outputs // 4
        self.norm1 = nn.GroupNorm(GROUPS, inputs)
        self.conv1 = StdConv2d(inputs, middle, 1, bias=False)
        self.norm2 = nn.GroupNorm(GROUPS, middle)
        self.conv2 = StdConv2d(middle, middle, 3, stride=stride, padding=1, bias=False)
        self.norm3 = nn.GroupNorm(GROUPS, middle)
        self.conv3 = StdConv2d(middle, outputs, 1, bias=False)
        self.shortcut = StdConv2d(inputs, outputs, 1, stride=stride, bias=False) if inputs != outputs or stride != 1 else None

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.norm1(x))
        residual: Tensor = self.conv1(activated)
        residual = self.conv2(F.relu(self.norm2(residual)))
        residual = self.conv3(F.relu(self.norm3(residual)))
        shortcut: Tensor = x if self.shortcut is None else self.shortcut(activated)
        return residual + shortcut


class BitResNet(gancore.Classifier):
    """ResNet-v2 with group norm and weight standardization; its last layer starts at zero, as BiT fine-tunes.

    With the default units it is BiT's R50x1: 23,500,352 parameters before the last layer. Images of any size are resized
    to `input_size` (bilinear), so that gradients reach them in their own size.

    Args:
        channels: Channels of an image, from core: 3, or 1, which is repeated.
        classes: Number of classes K, from core.
        pretrained: BiT's published file (``BiT-M-R50x1.npz``): a path, or a name in the folder that GANCORE_DATA names. Its
            last layer is left out. Only fine-tuning needs it.
        input_size: Height and width that the network sees, in pixels; at least 32.
        units: Units of each of the four stages.

    Raises:
        GancoreError: The file is missing, or holds no such network.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        pretrained: str | None = None,
        input_size: Annotated[int, gancore.Range(32)] = 128,
        units: tuple[Annotated[int, gancore.Range(1)], ...] = (3, 4, 6, 3),
    ) -> None:
        super().__init__()
        if len(units) != len(STAGES):
            raise gancore.GancoreError(f"cbgan/bit-resnet50 has {len(STAGES)} stages, not {len(units)}; correct units.")
        if channels not in (1, 3):
            raise gancore.GancoreError(f"cbgan/bit-resnet50 sees images of 1 or 3 channels, not {channels}.")
        self.input_size = input_size
        self.features = STAGES[-1]
        self.classes = classes
        self.stem = StdConv2d(3, 64, 7, stride=2, padding=3, bias=False)
        stages = []
        for index, (count, outputs) in enumerate(zip(units, STAGES, strict=True)):
            inputs = 64 if index == 0 else STAGES[index - 1]
            first = _Unit(inputs, outputs, stride=1 if index == 0 else 2)
            stages.append(nn.Sequential(first, *(_Unit(outputs, outputs, 1) for _ in range(count - 1))))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.GroupNorm(GROUPS, self.features)
        self.linear = nn.Linear(self.features, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        if pretrained is not None:
            self.load_published(_file_of(pretrained))

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, 1 or 3, H, W) in [-1, 1], which is BiT's own range, to features (N, 2048)."""
        if x.shape[-2:] != (self.input_size, self.input_size):
            x = F.interpolate(x, size=(self.input_size, self.input_size), mode="bilinear", align_corners=False)
        x = self.stem(x.expand(-1, 3, -1, -1))
        # Zeros, not the -inf of max pooling's own padding: the published weights were trained so.
        x = F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, stride=2)
        maps: Tensor = F.relu(self.norm(self.stages(x)))
        return maps.mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, 2048) to logits (N, K)."""
        logits: Tensor = self.linear(features)
        return logits

    @torch.no_grad()
    def load_published(self, path: Path) -> None:
        """Load everything but the last layer from a file of BiT's release (.npz, names and layouts of TensorFlow).

        Raises:
            GancoreError: The file is damaged, or holds another network.
        """
        try:
            # Without pickle, so a file can't run code.
            with np.load(path, allow_pickle=False) as file:
                arrays: Mapping[str, Any] = {name: file[name] for name in self._fitting(file)}
        except Exception as error:
            # Readers of damaged files raise whatever they stumble over.
            raise gancore.GancoreError(
                f"{path} is damaged or no .npz file ({first_line(error)[:200]}); download it again."
            ) from error
        for own, published in self._published_names():
            name = f"resnet/{published}"
            if name not in arrays:
                raise gancore.GancoreError(f"{path} holds another network: it lacks {name}; give BiT-M-R50x1.npz.")
            value = torch.from_numpy(np.asarray(arrays[name]))
            # TensorFlow keeps (height, width, inputs, outputs).
            value = value.permute(3, 2, 0, 1) if value.ndim == 4 else value
            if value.shape != own.shape:
                raise gancore.GancoreError(
                    f"{path} holds another network: {name} has shape {tuple(value.shape)}, not {tuple(own.shape)}; "
                    "give BiT-M-R50x1.npz."
                )
            own.copy_(value)

    def _fitting(self, file: Any) -> list[str]:
        """Return the names of the published arrays; refuse one that unpacks to far more than the weights that it is for."""
        rooms = {f"resnet/{published}.npy": 64 * own.numel() + 4096 for own, published in self._published_names()}
        sizes = {member.filename: member.file_size for member in file.zip.infolist()}
        for name, room in rooms.items():
            if sizes.get(name, 0) > room:
                raise ValueError(f"{name} unpacks to {sizes[name]} bytes, and the network has room for {room}")
        return [name.removesuffix(".npy") for name in rooms if name in sizes]

    def _published_names(self) -> Iterator[tuple[Tensor, str]]:
        yield self.stem.weight, "root_block/standardized_conv2d/kernel"
        yield self.norm.weight, "group_norm/gamma"
        yield self.norm.bias, "group_norm/beta"
        for stage, units in enumerate(self.stages, 1):
            for number, unit in enumerate(cast("list[_Unit]", units), 1):
                prefix = f"block{stage}/unit{number:02d}"
                for letter, norm, conv in (("a", "norm1", "conv1"), ("b", "norm2", "conv2"), ("c", "norm3", "conv3")):
                    yield getattr(unit, norm).weight, f"{prefix}/{letter}/group_norm/gamma"
                    yield getattr(unit, norm).bias, f"{prefix}/{letter}/group_norm/beta"
                    yield getattr(unit, conv).weight, f"{prefix}/{letter}/standardized_conv2d/kernel"
                if unit.shortcut is not None:
                    yield unit.shortcut.weight, f"{prefix}/a/proj/standardized_conv2d/kernel"


class ResizeCrop(gancore.Sampler):
    """Resizes a drawn batch and crops a square at random: BiT's augmentation of small images.

    Args:
        size: Height and width after resizing (bilinear), in pixels.
        crop: Height and width of what is cropped, at most `size`.
    """

    def __init__(self, *, size: Annotated[int, gancore.Range(1)] = 160, crop: Annotated[int, gancore.Range(1)] = 128) -> None:
        super().__init__()
        if crop > size:
            raise gancore.GancoreError(f"cbgan/resize-crop can't crop {crop} pixels out of {size}; lower crop.")
        self.size = size
        self.crop = crop

    def draw(self, batch: gancore.Drawn, noise: torch.Generator) -> gancore.Drawn:
        """Return the batch with images (N, C, `crop`, `crop`), each cropped at a place of its own."""
        images = F.interpolate(batch.real, size=(self.size, self.size), mode="bilinear", align_corners=False)
        device = images.device
        top, left = torch.randint(0, self.size - self.crop + 1, (2, len(images)), generator=noise, device=device)
        span = torch.arange(self.crop, device=device)
        rows = (top[:, None] + span)[:, :, None]
        columns = (left[:, None] + span)[:, None, :]
        item = torch.arange(len(images), device=device)[:, None, None]
        return attrs.evolve(batch, real=images[item, :, rows, columns].permute(0, 3, 1, 2))


def _file_of(name: str) -> Path:
    path, root = as_path(name, "pretrained"), os.environ.get("GANCORE_DATA")
    places = [path, *([as_path(root, "GANCORE_DATA") / name] if root else [])]
    for place in places:
        if place.is_file():
            return place
    raise gancore.GancoreError(
        f"there is no file {name}, neither here nor in the folder that GANCORE_DATA names; download it from "
        f"https://storage.googleapis.com/bit_models/{path.name}, or set networks.classifier.pretrained to where it lies."
    )
