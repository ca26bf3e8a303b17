"""The command line."""

from __future__ import annotations

from gancore.cli import main

__all__ = ["main"]
