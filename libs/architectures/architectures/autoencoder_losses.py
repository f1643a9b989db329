"""Terms of the loss of an autoencoder."""

import importlib
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from architectures.autoencoder import Reconstruction

TERMS: dict[str, type["LossTerm"]] = {}
"""The terms by name."""

Term = TypeVar("Term", bound=type["LossTerm"])


class LossTerm(torch.nn.Module):
    """Something that training makes small."""

    def forward(self, found: Reconstruction, labels: Tensor | None) -> Tensor:
        """Value of the term.

        Args:
            found: What the network makes of the batch (`Autoencoder.examine`).
            labels: Of shape (batch,), 1 for a signal and 0 for noise; None if nobody knows.

        Returns:
            Scalar.
        """
        raise NotImplementedError


def loss_term(name: str) -> Callable[[Term], Term]:
    """Class decorator that makes a term known by a name.

    Raises:
        ValueError: Another term has the name.
    """

    def add(term: Term) -> Term:
        if name in TERMS:
            raise ValueError(f"loss term {name!r} exists already: give {term.__name__} another")
        TERMS[name] = term
        return term

    return add


@loss_term("correlation")
class Correlation(LossTerm):
    """Detectors should agree on signals and on nothing else.

    The mean of 1 - c over the signals plus the mean of c over the noise, where c is the largest
    correlation over the light-travel shifts, averaged over pairs of detectors. Without labels all
    of the batch counts as signals: then terms against collapse must come with it.
    """

    def forward(self, found: Reconstruction, labels: Tensor | None) -> Tensor:
        """See `LossTerm`."""
        correlation = found.correlation.mean(dim=1)
        if labels is None:
            return 1 - correlation.mean()
        signal = labels.to(correlation.dtype)
        noise = 1 - signal
        missed = (signal * (1 - correlation)).sum() / signal.sum().clamp(min=1)
        false = (noise * correlation).sum() / noise.sum().clamp(min=1)
        return missed + false


@loss_term("reconstruction")
class ReconstructionError(LossTerm):
    """Mean squared difference of the reconstruction from its input."""

    def forward(self, found: Reconstruction, labels: Tensor | None) -> Tensor:
        """See `LossTerm`."""
        return F.mse_loss(found.output, found.kernel)


@loss_term("variance")
class Variance(LossTerm):
    """Each feature of the code should differ from kernel to kernel.

    Bardes et al., VICReg, arXiv:2105.04906, equation 1: the mean over features of how much the
    standard deviation over the batch falls short of 1. Each detector is a view.
    """

    epsilon = 1e-4

    def forward(self, found: Reconstruction, labels: Tensor | None) -> Tensor:
        """See `LossTerm`."""
        deviation = (found.code.var(dim=0) + self.epsilon).sqrt()
        return F.relu(1 - deviation).mean()


@loss_term("covariance")
class Covariance(LossTerm):
    """Features of the code should say different things.

    Bardes et al., VICReg, arXiv:2105.04906, equations 3 and 4: the sum of the squared covariances
    of different features of a detector, divided by the number of features. The mean over
    detectors.
    """

    def forward(self, found: Reconstruction, labels: Tensor | None) -> Tensor:
        """See `LossTerm`."""
        batch, _, features = found.code.shape
        centred = (found.code - found.code.mean(dim=0)).movedim(1, 0)
        covariance = centred.mT @ centred / (batch - 1)
        squared = covariance.square()
        mixed = squared.sum(dim=(1, 2)) - squared.diagonal(dim1=1, dim2=2).sum(dim=1)
        return (mixed / features).mean()


def term_class(name: str) -> type[LossTerm]:
    """A term by its name, or by the path that it is imported by.

    Args:
        name: Name in `TERMS`, or `package.module.Class` of a term from elsewhere.

    Raises:
        ValueError: There is no such term; lists the names.
    """
    if name in TERMS:
        return TERMS[name]
    module, _, attribute = name.rpartition(".")
    known = f"there are {', '.join(sorted(TERMS))}, and classes by package.module.Class"
    if not module:
        raise ValueError(f"no loss term {name}: {known}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"no loss term {name} ({error}): {known}") from error
    if not (isinstance(found, type) and issubclass(found, LossTerm)):
        raise ValueError(f"{name} is no loss term: derive it from {LossTerm.__module__}.LossTerm")
    return found


class AutoencoderLoss(torch.nn.Module):
    """Weighted sum of terms. A term may have parameters, which are trained with the network.

    Args:
        weights: Weight of each term, by its name in `TERMS` or by the path of its class.

    Raises:
        ValueError: There is no such term, or none at all.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        if not weights:
            raise ValueError(f"no loss term given: there are {', '.join(sorted(TERMS))}")
        self.weights = dict(weights)
        # in the order of the weights, since names of modules hold no dots
        self.terms = torch.nn.ModuleList(term_class(name)() for name in weights)

    def forward(
        self, found: Reconstruction, labels: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and each term without its weight, by name."""
        values = {
            name: term(found, labels) for name, term in zip(self.weights, self.terms, strict=True)
        }
        total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}
