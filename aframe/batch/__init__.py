"""Branches as jobs of a batch system: what they ask for, what they run, what became of them."""
