"""Runs the table of a paper's effect."""

from benchmarks.effects import main

main()
