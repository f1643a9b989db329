"""Tuning: many trainings side by side, of which the poor ones are stopped early."""
