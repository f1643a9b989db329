"""Trainings of versions: on which data, by which commands, what came of each."""

from deepclean.trainings.folder import Trainings, conclude
from deepclean.trainings.plan import Plan, Step, read_plan

__all__ = ["Plan", "Step", "Trainings", "conclude", "read_plan"]
