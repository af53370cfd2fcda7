"""Refresh: a data set and the champion in, a model that knows what happened since out."""
