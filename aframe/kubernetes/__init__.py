"""Stages on a Kubernetes cluster: the objects that are asked for, and following them."""
