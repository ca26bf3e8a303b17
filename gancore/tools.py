"""Public names for the commands of plugins: read a recipe, build a plan, train and open runs, write files whole or not at all.

Each is imported when it is first asked for, so that a command that needs no torch does not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gancore.lazy import importer

if TYPE_CHECKING:
    from gancore.cli import command_line as command_line
    from gancore.cli import device_option as device_option
    from gancore.cli import recipe_options as recipe_options
    from gancore.cli import recipe_title as recipe_title
    from gancore.cli import reports_errors as reports_errors
    from gancore.cli import say as say
    from gancore.contract import KINDS as KINDS
    from gancore.contract import check as check
    from gancore.contract import settings_of as settings_of
    from gancore.engine import Run as Run
    from gancore.engine import Watch as Watch
    from gancore.engine import as_images as as_images
    from gancore.engine import choose_device as choose_device
    from gancore.engine import generate as generate
    from gancore.engine import processor as processor
    from gancore.engine import synchronize as synchronize
    from gancore.engine import to_uint8 as to_uint8
    from gancore.engine import to_unit as to_unit
    from gancore.errors import did_you_mean as did_you_mean
    from gancore.errors import first_line as first_line
    from gancore.errors import listed as listed
    from gancore.files import cache_root as cache_root
    from gancore.files import digest as digest
    from gancore.files import digest_of as digest_of
    from gancore.files import raw_bytes as raw_bytes
    from gancore.files import read_tensors as read_tensors
    from gancore.files import replacing as replacing
    from gancore.files import toml as toml
    from gancore.files import write_tensors as write_tensors
    from gancore.files import write_text as write_text
    from gancore.parallel import Source as Source
    from gancore.parallel import derive as derive
    from gancore.parallel import distributed as distributed
    from gancore.parallel import drawing_from as drawing_from
    from gancore.parallel import noise_for as noise_for
    from gancore.parallel import seed_default as seed_default
    from gancore.plan import DISCRIMINATOR as DISCRIMINATOR
    from gancore.plan import GENERATOR as GENERATOR
    from gancore.plan import Plan as Plan
    from gancore.plan import attacked_method as attacked_method
    from gancore.plan import make_plan as make_plan
    from gancore.plan import plan_phase as plan_phase
    from gancore.recipe import GROUPS as GROUPS
    from gancore.recipe import Declared as Declared
    from gancore.recipe import Plugin as Plugin
    from gancore.recipe import Recipe as Recipe
    from gancore.recipe import Registry as Registry
    from gancore.recipe import assigned as assigned
    from gancore.recipe import check_table as check_table
    from gancore.recipe import merge as merge
    from gancore.recipe import read as read
    from gancore.recipe import read_layer as read_layer
    from gancore.recipe import registry as registry
    from gancore.training import Interrupted as Interrupted
    from gancore.training import Progress as Progress
    from gancore.training import RunFolder as RunFolder
    from gancore.training import Terminal as Terminal
    from gancore.training import build as build
    from gancore.training import checkpoint as checkpoint
    from gancore.training import duration as duration
    from gancore.training import entries as entries
    from gancore.training import fingerprint as fingerprint
    from gancore.training import identified as identified
    from gancore.training import image_format as image_format
    from gancore.training import open_run as open_run
    from gancore.training import prerequisites as prerequisites
    from gancore.training import sample as sample
    from gancore.training import suffixes as suffixes
    from gancore.training import train as train
    from gancore.training import wanted as wanted

_HOMES = {
    "gancore.cli": "command_line device_option recipe_options recipe_title reports_errors say",
    "gancore.contract": "KINDS check settings_of",
    "gancore.engine": "Run Watch as_images choose_device generate processor synchronize to_uint8 to_unit",
    "gancore.errors": "did_you_mean first_line listed",
    "gancore.files": "cache_root digest digest_of raw_bytes read_tensors replacing toml write_tensors write_text",
    "gancore.parallel": "Source derive distributed drawing_from noise_for seed_default",
    "gancore.plan": "DISCRIMINATOR GENERATOR Plan attacked_method make_plan plan_phase",
    "gancore.recipe": "GROUPS Declared Plugin Recipe Registry assigned check_table merge read read_layer registry",
    "gancore.training": (
        "Interrupted Progress RunFolder Terminal build checkpoint duration entries fingerprint identified image_format "
        "open_run prerequisites sample suffixes train wanted"
    ),
}
__all__ = [name for names in _HOMES.values() for name in names.split()]

if not TYPE_CHECKING:  # or every misspelled name would be of any type
    __getattr__ = importer(__name__, _HOMES)
