"""Kinds of training: what a network learns from, and by which loss."""

from train.families.autoencoder import Autoencoder
from train.families.base import Family
from train.families.cleaning import Cleaning
from train.families.regression import Regression
from train.families.supervised import Supervised

FAMILIES: dict[str, type[Family]] = {
    family.__name__: family for family in (Supervised, Autoencoder, Regression, Cleaning)
}

__all__ = ["FAMILIES", "Autoencoder", "Cleaning", "Family", "Regression", "Supervised"]
