"""gancore: GAN research as installable, composable plugins.

The names of the stub beside this file are the public contract, to which plugins add functions by `gancore_functions`.
`Component`, `Range`, `hookimpl` and `GANCORE_API` need no torch, so that a plugin's declaring module stays cheap to import; the
base classes are imported with torch when first touched.
"""

from gancore.lazy import face
from gancore.registry import functions as _functions

__all__, __dir__, __getattr__ = face(__name__, __file__, _functions)
