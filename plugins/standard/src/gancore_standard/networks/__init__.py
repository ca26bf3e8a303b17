"""Generators, discriminator backbones and classifiers that ship with core, a module per family."""
