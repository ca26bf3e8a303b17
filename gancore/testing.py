"""The conformance suite for plugins' authors, as the distribution `gancore-plugin-testing` has it, which brings pytest."""

from typing import Any

from gancore.lazy import face

__all__, __dir__, _get = face(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _get(name)
    except ModuleNotFoundError as error:
        if error.name != "gancore_testing":
            raise
        raise ImportError("gancore.testing needs its own distribution: `pip install gancore-plugin-testing`.") from None
