"""``python -m gancore`` is the command line."""

from gancore.cli.main import main

main(prog_name="gancore")
