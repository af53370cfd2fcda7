"""Tune: a data set in, the settings that learn most from it out."""
