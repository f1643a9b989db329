"""Strain of the observatories."""
