"""The command line. Imports no torch."""

from gancore.lazy import face

__all__, __dir__, __getattr__ = face(__name__, __file__)
