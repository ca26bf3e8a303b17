"""The version of gancore."""

__version__ = "0.1.0"
