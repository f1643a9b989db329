"""Which times are worth analysing: science segments less vetoes, from archives and files."""

from datagen.query.query import query_segments

__all__ = ["query_segments"]
