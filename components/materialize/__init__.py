"""Materialize: clean tables in, a training data set and published features out."""
