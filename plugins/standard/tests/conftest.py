"""The repository's fixtures, for this plugin's tests too."""

from tests.conftest import data_root, parity

__all__ = ["data_root", "parity"]
