"""Strain and witnesses with known couplings, second by second."""

from deepclean.simulation.plant import Plant, Simulated
from deepclean.simulation.settings import Simulation, load_simulation

__all__ = ["Plant", "Simulated", "Simulation", "load_simulation"]
