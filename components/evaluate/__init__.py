"""Evaluate: models and a data set in, evidence out."""
