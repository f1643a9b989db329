"""Networks for strain: detection scores, reconstructions, predictions from witnesses."""

from architectures.autoencoder import Autoencoder
from architectures.base import (
    EvidenceNetwork,
    RegressionNetwork,
    StreamingNetwork,
    WindowedNetwork,
)
from architectures.deepclean import DeepClean
from architectures.early_fusion import EarlyFusion
from architectures.frequency import FrequencyResNet
from architectures.multimodal import MultiModal
from architectures.pooling import log_mean_exp
from architectures.q_transform import QTransformResNet
from architectures.registry import (
    ARCHITECTURES,
    FAMILIES,
    build,
    discover,
    family_of,
    names,
    register,
    summaries,
)
from architectures.resnet import ResNet
from architectures.s4 import S4
from architectures.spectrogram import SpectrogramResNet
from architectures.two_tower import TwoTower
from architectures.wavenet import WaveNet

# a network of a file that is not named above is found as well
discover()

__all__ = [
    "ARCHITECTURES",
    "FAMILIES",
    "S4",
    "Autoencoder",
    "DeepClean",
    "EarlyFusion",
    "EvidenceNetwork",
    "FrequencyResNet",
    "MultiModal",
    "QTransformResNet",
    "RegressionNetwork",
    "ResNet",
    "SpectrogramResNet",
    "StreamingNetwork",
    "TwoTower",
    "WaveNet",
    "WindowedNetwork",
    "build",
    "discover",
    "family_of",
    "log_mean_exp",
    "names",
    "register",
    "summaries",
]
