"""The command line, and what it shares with the commands of plugins. Imports no torch."""

from gancore.lazy import face

__all__, __dir__, __getattr__ = face(__name__, __file__)
