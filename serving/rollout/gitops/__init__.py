"""The rollout target of a Git repository that a controller follows; Git is the only writer."""
