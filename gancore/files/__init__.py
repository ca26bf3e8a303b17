"""Files: TOML, tensors, and writing whole or not at all. Imports torch where a name needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gancore.files import toml
from gancore.files.atomic import replacing, write_text
from gancore.files.cache import cache_root
from gancore.files.digest import digest, digest_of
from gancore.lazy import importer

if TYPE_CHECKING:
    from gancore.files.tensors import load_weights, raw_bytes, read_tensors, write_tensors

__all__ = [
    "cache_root",
    "digest",
    "digest_of",
    "load_weights",
    "raw_bytes",
    "read_tensors",
    "replacing",
    "toml",
    "write_tensors",
    "write_text",
]

if not TYPE_CHECKING:  # or every misspelled name would be of any type
    __getattr__ = importer(__name__, {"gancore.files.tensors": ("load_weights", "raw_bytes", "read_tensors", "write_tensors")})
