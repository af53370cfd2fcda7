"""The rollout target of a cluster: an InferenceService, changed through the Kubernetes API."""
