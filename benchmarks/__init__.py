"""Measurements of speed and quality. Each prints a table and writes JSON; none asserts a figure."""
