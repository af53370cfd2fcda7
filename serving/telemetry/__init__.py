"""What a model server tells those who run it: metrics for Prometheus, and JSON lines."""
