"""Recipes: their layers, overrides and checks. Needs no torch."""

from gancore.lazy import face

__all__, __dir__, __getattr__ = face(__name__, __file__)
