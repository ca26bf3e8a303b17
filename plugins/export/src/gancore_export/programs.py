"""A generator as a program of `torch.export`, and in ONNX, each compared with the generator that it was made of."""

from __future__ import annotations

import copy
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gancore import GancoreError
from gancore.tools import first_line

AGREEMENT = 1e-4
"""How far a program's images may be from the generator's, on the [-1, 1] scale."""

_BATCHES = (1, 2, 7)
"""Numbers of images that a program is compared at, for it takes any."""

ONNX = ("onnx", "onnxscript")


class Labeled(nn.Module):
    """A generator of latents and labels, whose images are float32.

    Args:
        network: The generator.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Map latents (N, D) and labels (N,), or attributes (N, A), to images (N, C, H, W)."""
        images: Tensor = self.network(z, label)
        return images.float()


class Unlabeled(nn.Module):
    """A generator that heeds no label, whose images are float32.

    Args:
        network: The generator.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, D) to images (N, C, H, W)."""
        images: Tensor = self.network(z, None)
        return images.float()


class Program:
    """A generator on the CPU, in float32 and in evaluation mode, that is written as a program.

    Args:
        network: The generator; it is copied.
        z: Latents (N, D) to compare programs by, N of 10 and more.
        label: Their labels (N,), or attributes (N, A).
    """

    def __init__(self, network: nn.Module, z: Tensor, label: Tensor) -> None:
        self.network = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
        # gancore lays weights out channels last, which says nothing to other readers.
        for value in self.network.state_dict(keep_vars=True).values():
            value.data = value.data.contiguous()
        self.z, self.label = z.cpu(), label.cpu()
        self.heeds_labels = not self._ignores_labels()
        self.module = (Labeled if self.heeds_labels else Unlabeled)(self.network).eval()

    def _ignores_labels(self) -> bool:
        with torch.no_grad():
            try:
                return all(
                    torch.equal(self.network(self.z, None), self.network(self.z, label))
                    for label in (self.label, self.label.flip(0))
                )
            except Exception:  # a generator needs its labels, and fails at None as it happens to
                return False

    def arguments(self, rows: slice = slice(None)) -> tuple[Tensor, ...]:
        """Return what the program takes for some of the latents."""
        return (self.z[rows], self.label[rows]) if self.heeds_labels else (self.z[rows],)

    @torch.no_grad()
    def images(self) -> Tensor:
        """Return the generator's images of all latents."""
        images: Tensor = self.module(*self.arguments())
        return images

    def write(self, path: Path) -> float:
        """Write the program of `torch.export`, and return the largest difference of its images.

        Raises:
            GancoreError: The generator can't be exported, or the program's images are others.
        """
        self.images()  # What a network computes once is computed now, with numbers.
        batch = torch.export.Dim("batch", min=1)
        names = ("z", "label")[: len(self.arguments())]
        with _quiet(), _exporting("torch.export"):
            program = torch.export.export(self.module, self.arguments(), dynamic_shapes={name: {0: batch} for name in names})
            torch.export.save(program, str(path))
            loaded = torch.export.load(str(path)).module()
            return self._compare(loaded, "the program of torch.export")

    def write_onnx(self, path: Path) -> float:
        """Write the generator in ONNX, and return the largest difference of its images, as ONNX's reference computes them.

        Raises:
            GancoreError: The generator can't be exported, or the program's images are others.
        """
        batch = torch.export.Dim("batch", min=1)
        names = ["z", "label"][: len(self.arguments())]
        with _quiet(), _exporting("ONNX"):
            torch.onnx.export(
                self.module,
                self.arguments(),
                str(path),
                input_names=names,
                output_names=["images"],
                dynamic_shapes={name: {0: batch} for name in names},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            import onnx.reference

            evaluator = onnx.reference.ReferenceEvaluator(str(path))

            def run(*arguments: Tensor) -> Tensor:
                feeds = {name: value.numpy() for name, value in zip(names, arguments, strict=True)}
                return torch.from_numpy(evaluator.run(None, feeds)[0])

            return self._compare(run, "the program of ONNX")

    @torch.no_grad()
    def _compare(self, program: Callable[..., Tensor], what: str) -> float:
        largest = 0.0
        for number in _BATCHES:
            rows = slice(0, number)
            difference = program(*self.arguments(rows)) - self.module(*self.arguments(rows))
            largest = max(largest, float(difference.abs().max()))
        if not largest <= AGREEMENT:
            raise GancoreError(
                f"{what} generates other images, by up to {largest:.2g} where {AGREEMENT:g} is allowed; tell the author."
            )
        return largest


def lacking_for_onnx() -> list[str]:
    """Return the packages that are missing for ONNX."""
    return [name for name in ONNX if importlib.util.find_spec(name) is None]


@contextmanager
def _exporting(what: str) -> Iterator[None]:
    try:
        yield
    except GancoreError:
        raise
    except Exception as error:
        # Exporters raise whatever they stumble over in a network.
        raise GancoreError(
            f"the generator can't be exported by {what} ({type(error).__name__}: {first_line(error)[:200]}); its author must "
            "leave out what depends on values."
        ) from error


@contextmanager
def _quiet() -> Iterator[Any]:
    """Keep what exporters say of their own matters from the user."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
