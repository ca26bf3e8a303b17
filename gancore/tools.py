"""Public names for the commands of plugins: read a recipe, build a plan, train and open runs, write files whole or not at all.

Each is imported when it is first asked for, so that a command that needs no torch does not wait for it.
"""

from gancore.lazy import face

__all__, __dir__, __getattr__ = face(__name__, __file__)
