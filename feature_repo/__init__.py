"""The feature repository: what Feast knows of users and items, and the doors to it.

`feast -c feature_repo apply` reads `repo.py` and `feature_store.yaml`; Python publishes through
`store.py` (with the Feast SDK) and reads through `online.py` (without it, so it imports at once).
"""
