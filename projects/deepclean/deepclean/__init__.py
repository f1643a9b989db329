"""Subtract witnessed noise from strain, offline and live, and watch over it."""
