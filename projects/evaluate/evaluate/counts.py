"""How many of the events of a search are signals, and which."""

import numpy as np
from scipy.stats import gamma

NUM_SIGNAL_NODES, NUM_NOISE_NODES = 400, 24
# exp of it is finite, and such an event is a signal for any counts
LARGEST_LOG_RATIO = 500.0


class CountPosterior:
    r"""Posterior of the numbers of signals and of noise events among those of a search.

    Events x_i are from two Poisson processes with the expected numbers L1 (signals) and L0 (noise)
    and the densities f and b (Farr, Gair, Mandel & Cutler 2015, Phys. Rev. D 91, 023005,
    equation 21):

        p(L1, L0 | x)  proportional to  prior * prod_i [L1 f(x_i) + L0 b(x_i)] * exp(-L1 - L0)

    With the prior L1^(-1/2) of that paper for the signals. L0 is known from the time slides: its
    prior is the gamma distribution with the mean and the variance that they give. Signals are
    integrated over a grid even in the root of L1, on which its prior is flat, noise over midpoints
    of equal probability.

    Args:
        log_ratio: ln(f / b) of each event, of shape (event,).
        noise_mean: Number of noise events that the time slides give.
        noise_std: Its standard deviation.
    """

    def __init__(self, log_ratio: np.ndarray, noise_mean: float, noise_std: float) -> None:
        shape = (noise_mean / noise_std) ** 2
        middle = (np.arange(NUM_NOISE_NODES) + 0.5) / NUM_NOISE_NODES
        self.noise = gamma.ppf(middle, shape, scale=noise_mean / shape)
        most = len(log_ratio) + 5 * np.sqrt(len(log_ratio)) + 15
        root = (np.arange(NUM_SIGNAL_NODES) + 0.5) / NUM_SIGNAL_NODES * np.sqrt(most)
        self.signals = np.square(root)
        log_prob = -self.signals[:, None] - self.noise
        for value in log_ratio:
            log_prob += np.log(self.signals[:, None] * _ratio(value) + self.noise)
        probability = np.exp(log_prob - log_prob.max())
        self.probability = probability / probability.sum()

    def p_astro(self, log_ratio: np.ndarray) -> np.ndarray:
        """Probability that an event is a signal, over all counts; of the shape of `log_ratio`."""
        return np.array(
            [
                np.sum(self.probability / (1 + self.noise / (self.signals[:, None] * _ratio(one))))
                if np.isfinite(one)
                else 0.0
                for one in log_ratio
            ]
        )

    def signal_quantiles(self, levels: np.ndarray) -> np.ndarray:
        """Quantiles of the expected number of signals."""
        cumulative = np.cumsum(self.probability.sum(axis=1))
        edges = np.square(np.arange(NUM_SIGNAL_NODES + 1) / NUM_SIGNAL_NODES) * (
            self.signals[-1] / (1 - 0.5 / NUM_SIGNAL_NODES) ** 2
        )
        return np.interp(levels, np.concatenate([[0.0], cumulative]), edges)


def _ratio(log_ratio: float) -> float:
    return float(np.exp(min(log_ratio, LARGEST_LOG_RATIO)))
