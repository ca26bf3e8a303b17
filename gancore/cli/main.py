"""The command line. Importing it imports no torch; a command imports what it needs when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import gancore.cli.look as look
import gancore.cli.train as train
from gancore.cli.options import fail
from gancore.errors import GancoreError
from gancore.recipe import registry
from gancore.version import __version__

if TYPE_CHECKING:
    from gancore.recipe import Declared


class Group(click.Group):
    """The command group; commands of plugins are listed by their declarations, and imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return core's commands in the order of a first day's work, then those of plugins."""
        return [*self.commands, *self._declared()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; one of a plugin is imported now."""
        declared = self._declared().get(cmd_name)
        if declared is None:
            return super().get_command(ctx, cmd_name)
        try:
            command: click.Command = registry().load(declared)
        except GancoreError as error:
            fail(error)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing those of plugins."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(200)) for name, command in self.commands.items()])
        declared = [(name, component.summary) for name, component in self._declared().items()]
        if declared:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(declared)

    def _declared(self) -> dict[str, Declared]:
        """Return the commands of plugins by name; no plugin's takes the place of one of core's."""
        return {name: command for name, command in sorted(registry().commands().items()) if name not in self.commands}


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gancore")
def main() -> None:
    """GAN research as installable, composable plugins.

    A recipe names the parts of a training; a fragment adds a method to any recipe:

    \b
        gancore train RECIPE --with FRAGMENT --set run.seed=1
    """


for _command in (
    train.train,
    train.sample,
    train.evaluate,
    look.recipes,
    look.components,
    look.plugins,
    look.show,
    look.explain,
    look.new_plugin,
    look.doctor,
):
    main.add_command(_command)
