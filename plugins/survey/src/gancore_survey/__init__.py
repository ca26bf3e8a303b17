"""Brings the packages of the survey's papers, each a plugin of its own; it holds nothing itself."""
