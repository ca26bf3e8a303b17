"""The repository's fixtures, for this plugin's tests too."""

from tests.conftest import parity

__all__ = ["parity"]
