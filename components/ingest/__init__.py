"""Ingest: raw data in, canonical tables out."""
