"""The pooling of a streaming network over a long series."""

import numpy as np

from infer.running import running

# exp(80) is far above any score and far below the largest float32
LARGEST = np.float32(80.0)


def pool(evidence: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Running logarithm of the mean of the exponential, as `architectures.log_mean_exp`.

    The same to rounding, in a time that grows with the logarithm of the size.

    Args:
        evidence: Of shape (batch, frame), float32.
        size: Frames in a kernel.
        stride: Frames between two kernels.

    Returns:
        Array of shape (batch, (frame - size) // stride + 1), float32.
    """
    odds = np.minimum(evidence, LARGEST)
    np.exp(odds, out=odds)
    total = running(odds, size, np.add)[..., ::stride] / np.float32(size)
    return np.log(total, out=total)
