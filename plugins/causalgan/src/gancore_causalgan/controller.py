"""The causal controller: attributes as a causal implicit generative model (Kocaoglu et al. 2018, sections 3 and 4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated

import torch
from torch import Tensor, nn

import gancore
from gancore import GancoreError, Range

Positive = Annotated[int, Range(1)]


def parsed(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return each attribute's causes, of lines such as ``"wet <- rain, sprinkler"``.

    Raises:
        GancoreError: A line is none, or an attribute has two.
    """
    graph: dict[str, list[str]] = {}
    for line in lines:
        name, arrow, causes = (word.strip() for word in line.partition("<-"))
        graph_of_one = {name: [word.strip() for word in causes.split(",")] if arrow else []}
        if not all([name, *graph_of_one[name]]) or name in graph:
            raise GancoreError(f'graph says {line!r}; write each attribute once, as "wet <- rain, sprinkler", or "rain" alone.')
        graph |= graph_of_one
    return graph


def causal_order(graph: Mapping[str, list[str]]) -> list[str]:
    """Return the attributes of a graph, causes first.

    Raises:
        GancoreError: There is none, a cause is none of them, or they cause each other in a circle.
    """
    for name, causes in graph.items():
        unknown = [cause for cause in causes if cause not in graph]
        if unknown:
            raise GancoreError(f"graph says that {unknown[0]!r} causes {name!r}, and has no {unknown[0]!r}; add it as a cause.")
    if not graph:
        raise GancoreError('graph names no attribute; write each with its causes, e.g. graph = ["male", "beard <- male"].')
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise GancoreError(f"graph has a circle, {' <- '.join(error.args[1])}; a cause can't be its own effect.") from error


class Controller(gancore.Generator):
    """Attributes, each a function of its causes and of noise of its own: label_i = F_i(label of its causes, E_i).

    Each F_i is a small network with a sigmoid; a cause is rounded to 0 or 1 before its effects see it, so that they see the
    same values where it is set from outside. No gradient passes through the rounding. To a training it is a generator of
    points (A, 1, 1), whose real ones are those of `causalgan/attributes`.

    Args:
        graph: Each attribute, in the order of the data's, with those that cause it, e.g. ``["rain", "wet <- rain"]``.
        width: Width of the hidden layers, and of the noise of each attribute.
        layers: Linear layers of each F_i.

    Raises:
        GancoreError: The graph is none.
    """

    def __init__(self, *, graph: list[str], width: Positive = 10, layers: Positive = 6) -> None:
        super().__init__()
        self.graph = parsed(graph)
        self.order, self.names = causal_order(self.graph), list(self.graph)
        self.width, self.latent_dim = width, len(self.names) * width
        # Weights for other causes have other names, so that they are refused.
        self.functions = nn.ModuleDict(
            {self._key(name): _function(width, len(causes), layers) for name, causes in self.graph.items()}
        )

    def _key(self, name: str) -> str:
        return f"{_escaped(name)} of {' and '.join(map(_escaped, self.graph[name])) or 'nothing'}"

    def chances(self, z: Tensor, do: Mapping[str, int] | None = None) -> Tensor:
        """Return what each F_i gives, (N, A) in (0, 1), and for an attribute that is set from outside, that.

        Args:
            z: Noise (N, A * width), uniform on [-1, 1].
            do: Attributes that are set, to 0 or 1; their causes no longer matter, their effects see them.

        Raises:
            GancoreError: The noise has another width.
        """
        if z.shape[1] != self.latent_dim:
            raise GancoreError(
                f"{len(self.graph)} attributes of width {self.width} take noise of {self.latent_dim} numbers, "
                f"not {z.shape[1]}; set run.latent_dim = {self.latent_dim}."
            )
        noise = dict(zip(self.names, z.unflatten(1, (-1, self.width)).unbind(1), strict=True))
        chance: dict[str, Tensor] = {}
        for name in self.order:
            if name in (do or {}):
                chance[name] = torch.full_like(z[:, :1], (do or {})[name])
                continue
            causes = [chance[cause].round().detach() for cause in self.graph[name]]
            chance[name] = torch.sigmoid(self.functions[self._key(name)](torch.cat([noise[name], *causes], 1)))
        return torch.cat([chance[name] for name in self.names], 1)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map noise (N, latent_dim) to points (N, A, 1, 1) in [-1, 1], near -1 for an attribute that is not there."""
        return (2 * self.chances(z) - 1)[:, :, None, None]


def _escaped(name: str) -> str:
    """Return a name without dots, which no module's may have, and without the words that stand between names; no two agree."""
    return re.sub(r"[%.]| (?=(?:of|and)\b)", lambda match: f"%{ord(match[0]):02X}", name)


def _function(width: int, causes: int, layers: int) -> nn.Sequential:
    inputs = [width + causes, *[width] * (layers - 1)]
    hidden = [part for before in inputs[:-1] for part in (nn.Linear(before, width), nn.LeakyReLU(0.2))]
    return nn.Sequential(*hidden, nn.Linear(inputs[-1], 1))
