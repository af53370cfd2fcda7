"""Runs on a Kubeflow Pipelines backend: submitted once, followed to their end, scheduled."""
