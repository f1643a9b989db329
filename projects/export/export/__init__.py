"""Turn a trained network into a model repository."""
