"""The command line. Importing it imports no torch; a command imports what it needs when it runs."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import click

from gancore.cli.plugins import doctor, plugins
from gancore.errors import MORE_PLUGINS, NO_PLUGIN, GancoreError, did_you_mean, refusal, sentence, shown
from gancore.registry import Declared, registry, remedy_for
from gancore.showing import unfailing
from gancore.version import __version__

HEADINGS = ("Recipes and training", "What a run holds", "Several runs", "Methods", "Parts and plugins")
"""What comes first of the headings in the list of commands, in this order; the last one is that of core's own commands."""


class Group(click.Group):
    """The command group; commands of plugins are listed by their declarations, and imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return core's commands and those of plugins, in one order."""
        return sorted({*self.commands, *self._declared()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; one of a plugin is imported now."""
        declared = self._declared().get(cmd_name)
        command: click.Command | None = registry().load(declared) if declared else super().get_command(ctx, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands below the headings of their groups, without importing those of plugins."""
        lines = {name: (HEADINGS[-1], one.get_short_help_str(200).rstrip(".")) for name, one in self.commands.items()}
        lines |= {name: (one.group or "More", one.summary) for name, one in self._declared().items()}
        width = max(map(len, lines))
        headings = sorted({heading for heading, _ in lines.values()})
        for heading in sorted(headings, key=[*HEADINGS, *headings].index):
            with formatter.section(heading):
                formatter.write_dl([(one.ljust(width), text) for one, (own, text) in sorted(lines.items()) if own == heading])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Return a command and its words.

        Raises:
            GancoreError: There is none. Most are those of plugins; where none is installed, the sentence says what to install.
        """
        name, *words = args
        known = self.list_commands(ctx)
        if name in known or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        missing = f"there is no command {shown(name)}"
        if registry().plugins():
            raise GancoreError(f"{missing}{did_you_mean(name, known)}; see `gancore --help`. {MORE_PLUGINS}")
        remedies = (remedy_for(word.partition("/")[0]) for word in words if "/" in word)
        raise GancoreError(next((f"{missing}; {remedy}." for remedy in remedies if remedy), f"{missing}: {NO_PLUGIN}"))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a `GancoreError` becomes one sentence, said by one process, and exit status 2."""
        with unfailing():
            try:
                return super().invoke(ctx)
            except click.UsageError as error:
                error.message = error.message and sentence(error)
                raise
            except Exception as error:
                refused, several = refusal(error), _processes()
                if refused is None:
                    raise
                if several is None or several.first_to_fail():
                    click.echo(f"Error: {sentence(refused)}", err=True)
                ctx.exit(2)
            finally:
                # A process that just ends may be aborted by its own connections to the others.
                if several := _processes():
                    several.stop()

    def _declared(self) -> dict[str, Declared]:
        """Return the commands of plugins by name; no plugin's takes the place of one of core's."""
        return {name: command for name, command in registry().named("command").items() if name not in self.commands}


def _processes() -> ModuleType | None:
    """Return what handles several processes, or None where this one is alone, and may never have imported torch."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    from gancore.parallel import distributed

    return distributed


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    commands=[plugins, doctor],
)
@click.version_option(__version__, prog_name="gancore")
def main() -> None:
    """GAN research as installable, composable plugins.

    A recipe names the parts of a training; a fragment adds a method to it:

    \b
        gancore train RECIPE --with FRAGMENT --set run.seed=1
    """
