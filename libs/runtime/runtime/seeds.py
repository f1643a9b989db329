"""Random numbers that depend on the experiment's seed and on their purpose, on nothing else."""

import hashlib

import numpy as np


def seed_for(seed: int, *purpose: str | int) -> int:
    """Derive a 63-bit seed from the experiment's seed and a purpose.

    Args:
        seed: Seed of the experiment.
        purpose: What the numbers are for and which branch, for example `("simulate", "H1", 3)`.
    """
    text = "/".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator_for(seed: int, *purpose: str | int) -> np.random.Generator:
    """Generator of random numbers for a purpose; see `seed_for`."""
    return np.random.Generator(np.random.Philox(key=seed_for(seed, *purpose)))
