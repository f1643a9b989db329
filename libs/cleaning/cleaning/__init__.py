"""Noise in strain from its witnesses.

One computation serves training's measure, offline cleaning and the online cleaner: finite filters
and networks of finite reach over samples that are tracked by their index.
"""

from cleaning.bandpass import BandPass
from cleaning.cleaner import Choice, Cleaned, Cleaner, Model
from cleaning.envelope import fade, gap_envelope, gate_envelope
from cleaning.estimator import LayerEstimator, NoiseEstimator, Reach
from cleaning.experiment import CleaningExperiment, Fetch, Stretch, load_cleaning_experiment
from cleaning.losses import AsdRatio
from cleaning.predictor import Network, Predictor, TorchPredictor
from cleaning.problem import Layer, Problem, ProblemError, load_problem
from cleaning.recording import Recording
from cleaning.resampling import Resampler
from cleaning.series import Series
from cleaning.spectra import Ratios, asd, band_ratios
from cleaning.wiener import LinearFilter, fit_wiener

__all__ = [
    "AsdRatio",
    "BandPass",
    "Choice",
    "Cleaned",
    "Cleaner",
    "CleaningExperiment",
    "Fetch",
    "Layer",
    "LayerEstimator",
    "LinearFilter",
    "Model",
    "Network",
    "NoiseEstimator",
    "Predictor",
    "Problem",
    "ProblemError",
    "Ratios",
    "Reach",
    "Recording",
    "Resampler",
    "Series",
    "Stretch",
    "TorchPredictor",
    "asd",
    "band_ratios",
    "fade",
    "fit_wiener",
    "gap_envelope",
    "gate_envelope",
    "load_cleaning_experiment",
    "load_problem",
]
