"""The batches of a run: which images take part, and what is drawn of them."""

from __future__ import annotations

from typing import Any

import attrs
from torch import Tensor

from gancore.contract import Drawn
from gancore.parallel import distributed

Selection = tuple[Tensor, Tensor, Tensor | None]
"""Images, labels, and the relative frequency of each image, or None where all are equally frequent."""


def own_rows(drawn: Drawn) -> Drawn:
    """Return this process's rows of a drawn batch."""
    if distributed.world_size() == 1:
        return drawn
    own = distributed.own_rows
    rows: dict[str, Any] = {
        name: own(value) for name, value in attrs.asdict(drawn, recurse=False).items() if isinstance(value, Tensor)
    }
    sources = {label: (own(images), own(labels)) for label, (images, labels) in drawn.sources.items()}
    return attrs.evolve(drawn, **rows, sources=sources)
