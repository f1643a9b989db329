"""Networks that turn whitened strain into detection scores."""

from architectures.base import StreamingNetwork, WindowedNetwork
from architectures.pooling import log_mean_exp
from architectures.registry import ARCHITECTURES, build
from architectures.resnet import ResNet
from architectures.two_tower import TwoTower

__all__ = [
    "ARCHITECTURES",
    "ResNet",
    "StreamingNetwork",
    "TwoTower",
    "WindowedNetwork",
    "build",
    "log_mean_exp",
]
