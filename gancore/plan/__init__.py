"""The checked plan of a recipe, before any tensor exists. Imports torch where a name needs it."""

from gancore.lazy import face

__all__, __dir__, __getattr__ = face(__name__, __file__)
