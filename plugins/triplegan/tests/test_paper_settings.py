"""The recipes' settings against those that the paper prints."""

from __future__ import annotations

from pathlib import Path

from gancore.testing import paper_settings

test_settings = paper_settings(Path(__file__).with_name("paper_settings.toml"))
