"""The KServe predictor, the one-machine router and the rollout."""
