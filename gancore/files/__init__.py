"""Files: TOML, tensors, and writing whole or not at all. Imports torch where a name needs it."""

from gancore.lazy import face

__all__, __dir__, __getattr__ = face(__name__, __file__)
