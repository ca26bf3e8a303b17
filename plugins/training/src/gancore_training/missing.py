"""Runs some of whose plugins are no longer installed: what only its training needed is left out where images are drawn."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from gancore import GancoreError

if TYPE_CHECKING:
    from gancore.tools import Registry

_ONLY_TRAINING = {"losses": ("loss", "loss.{}"), "attacks": ("attack", "attack"), "metrics": ("metric", "")}
"""Tables that no drawing of images needs -> the kind of what stands in them, and the name of its state in a checkpoint."""


@attrs.frozen
class Missing:
    """What a run names, no installed plugin has, and its generator does not need.

    Attributes:
        places: Where it stands in the recipe, e.g. ``losses.balance``.
        reason: Why the first of them can't be had; None where nothing is missing.
    """

    places: Collection[str] = ()
    reason: GancoreError | None = None

    @classmethod
    def of(cls, table: Mapping[str, Any], registry: Registry, name: str) -> Missing:
        """Return what is missing of a recipe's table; `name` names the recipe for the reason."""
        reasons: dict[str, GancoreError] = {}
        for group, (kind, _) in _ONLY_TRAINING.items():
            entries = table.get(group)
            for label, entry in entries.items() if isinstance(entries, Mapping) else ():
                use = entry.get("use") if isinstance(entry, Mapping) else None
                if isinstance(use, str):
                    try:
                        registry.component(kind, use, where=f"{name}: {group}.{label}")
                    except GancoreError as error:
                        reasons[f"{group}.{label}"] = error
        return cls(tuple(reasons), next(iter(reasons.values()), None))

    def left_out(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return a recipe's table without it."""
        kept = dict(table)
        for place in self.places:
            group, label = place.split(".", 1)
            kept[group] = {name: entry for name, entry in kept.get(group, {}).items() if name != label}
        return kept

    def without_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a checkpoint's tensors or numbers, ``owner/name``, without its own."""
        owners = {_ONLY_TRAINING[group][1].format(label) for group, label in (place.split(".", 1) for place in self.places)}
        return {name: value for name, value in state.items() if name.partition("/")[0] not in owners}
