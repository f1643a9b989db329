"""How signals begin and end."""

import numpy as np


def rising_window(size: int) -> np.ndarray:
    """Half a cosine window, from 0 up, of shape (size,)."""
    return (1 - np.cos(np.pi * np.arange(size) / size)) / 2
