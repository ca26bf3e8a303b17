"""The command line, and what it shares with the commands of plugins. Imports no torch."""

from __future__ import annotations

from gancore.cli import main
from gancore.cli.options import aligned, command_line, device_option, recipe_options, recipe_title, say

__all__ = ["aligned", "command_line", "device_option", "main", "recipe_options", "recipe_title", "say"]
