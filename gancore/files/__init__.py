"""Files: TOML, tensors, and writing whole or not at all."""

from __future__ import annotations

from gancore.files import toml
from gancore.files.atomic import write_text
from gancore.files.cache import cache_root
from gancore.files.tensors import load_weights, read_tensors, write_tensors

__all__ = ["cache_root", "load_weights", "read_tensors", "toml", "write_tensors", "write_text"]
