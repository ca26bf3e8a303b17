"""Generators, discriminator backbones and classifiers, a module per family."""
