"""Several processes, and randomness that does not depend on their number."""

from gancore.lazy import face

__all__, __dir__, __getattr__ = face(__name__, __file__)
