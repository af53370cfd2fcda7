"""The online stores as Feast lays them out, read and written without its SDK."""

from feature_repo.stores.opening import open_online

__all__ = ["open_online"]
