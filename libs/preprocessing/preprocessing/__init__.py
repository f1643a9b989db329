"""PSD, whitening and SNR as torch functions, shared by training, search and the exported model."""

from preprocessing.psd import running_psd
from preprocessing.recipe import WhiteningRecipe
from preprocessing.snr import optimal_snr
from preprocessing.streaming import StreamingWhitening
from preprocessing.whitening import (
    WhitenBlock,
    WhitenedStretch,
    filter_signals,
    whiten,
    whitening_taps,
)

__all__ = [
    "StreamingWhitening",
    "WhitenBlock",
    "WhitenedStretch",
    "WhiteningRecipe",
    "filter_signals",
    "optimal_snr",
    "running_psd",
    "whiten",
    "whitening_taps",
]
