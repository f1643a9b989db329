"""Evidence to score."""

from torch import Tensor
from torch.nn import functional as F


def log_mean_exp(evidence: Tensor, size: int, stride: int = 1) -> Tensor:
    """Running logarithm of the mean of the exponential: the score of a kernel from its evidence.

    Args:
        evidence: Of shape (batch, frame).
        size: Frames in a kernel.
        stride: Frames between two kernels.

    Returns:
        Tensor of shape (batch, (frame - size) // stride + 1).
    """
    # bfloat16 has steps of 0.008 near 1, where the odds begin; float16 ends at exp(11)
    if evidence.element_size() < 4:
        evidence = evidence.float()
    # exp(80) is far above any score and far below the largest float32
    odds = evidence.clamp(max=80.0).exp()[:, None]
    return F.avg_pool1d(odds, size, stride)[:, 0].log()
