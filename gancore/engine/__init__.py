"""The step: a run, and the phases of its players."""

from gancore.lazy import face

__all__, __dir__, __getattr__ = face(__name__, __file__)
