"""Recipes and the registry of plugins. Needs no torch."""

from __future__ import annotations

from gancore.recipe.discovery import Declared, Plugin, said
from gancore.recipe.layers import assigned, merge, read_layer
from gancore.recipe.recipe import Entry, Recipe, check_table, default_optimizer, identity, read
from gancore.recipe.registry import Registry, registry
from gancore.recipe.tables import (
    GROUPS,
    TABLES,
    AttackKeys,
    Augmentation,
    HeadKeys,
    NetworkKeys,
    RunSettings,
    SamplerKeys,
    TermKeys,
)

__all__ = [
    "GROUPS",
    "TABLES",
    "AttackKeys",
    "Augmentation",
    "Declared",
    "Entry",
    "HeadKeys",
    "NetworkKeys",
    "Plugin",
    "Recipe",
    "Registry",
    "RunSettings",
    "SamplerKeys",
    "TermKeys",
    "assigned",
    "check_table",
    "default_optimizer",
    "identity",
    "merge",
    "read",
    "read_layer",
    "registry",
    "said",
]
