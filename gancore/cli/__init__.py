"""The command line, and what it shares with the commands of plugins. Imports no torch."""

from __future__ import annotations

from gancore.cli import main
from gancore.cli.options import aligned, command_line, device_option, path_type, recipe_options, recipe_title, recipe_words, say

__all__ = [
    "aligned",
    "command_line",
    "device_option",
    "main",
    "path_type",
    "recipe_options",
    "recipe_title",
    "recipe_words",
    "say",
]
