"""Names of the Feast feature services: what one version of a model reads.

`feature_repo/services.py` defines them; a model's artifact names the one that it needs; a server
loads only models that need the one that it reads.
"""

from __future__ import annotations

UNIFIED_V1 = "unified_v1"
"""A history: item_ids, actions, times, values, as_of."""

UNIFIED_V2 = "unified_v2"
"""A history with where its events happened, if surfaces are told apart, and who the user is."""

READS_ALSO: dict[str, tuple[str, ...]] = {UNIFIED_V1: (UNIFIED_V2,)}
"""By service that a server reads: which others it can read where a model asks for them."""
