"""The contract: all that the author of a component imports. Base classes are imported with torch when first touched."""

from gancore.lazy import face

__all__, __dir__, __getattr__ = face(__name__, __file__)
