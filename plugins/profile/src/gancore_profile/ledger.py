"""An account of where a meter's amounts went, by spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from gancore_profile.spans import Name, Path


class Ledger:
    """Charges what a meter shows to the innermost open span: a span's amount is without that of the spans inside it.

    The amounts of all paths add up to what the meter gained, for every reading closes one account and opens the next.

    Args:
        read: The meter, e.g. a clock in seconds; it never goes down.

    Attributes:
        amounts: What each path was charged, ``()`` standing for what no span covers.
        entered: How often each path was entered.
    """

    def __init__(self, read: Callable[[], float]) -> None:
        self.read = read
        self.amounts: Counter[Path] = Counter()
        self.entered: Counter[Path] = Counter()
        self.path: Path = ()
        self._last = read()

    def enter(self, name: Name) -> None:
        """Charge the span around, and open one inside it."""
        self.settle()
        self.path = (*self.path, name)
        self.entered[self.path] += 1

    def leave(self) -> None:
        """Charge the innermost span, and close it."""
        self.settle()
        self.path = self.path[:-1]

    def settle(self) -> None:
        """Charge the innermost span with what the meter gained since the last reading."""
        now = self.read()
        self.amounts[self.path] += now - self._last  # type: ignore[assignment]  # a Counter of floats
        self._last = now
