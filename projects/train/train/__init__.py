"""Train a network to tell signals from noise."""
