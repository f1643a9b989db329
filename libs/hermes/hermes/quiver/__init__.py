"""Model repositories in the layout of Triton."""

from hermes.errors import RepositoryError
from hermes.quiver.config import format_config, parse_config
from hermes.quiver.ensemble import EnsembleModel, Step
from hermes.quiver.model import Model
from hermes.quiver.platform import Platform
from hermes.quiver.repository import ModelRepository
from hermes.quiver.steps import order_steps
from hermes.quiver.tensor import ExposedTensor

__all__ = [
    "EnsembleModel",
    "ExposedTensor",
    "Model",
    "ModelRepository",
    "Platform",
    "RepositoryError",
    "Step",
    "format_config",
    "order_steps",
    "parse_config",
]
