"""Model versions: immutable, content-addressed, signed, with lineage, decisions and aliases.

models/<version>/             model files, lineage.json, and model.sig, which is written last:
                              a version without it does not exist
decisions/<version>/<run>.json  what the gate said, one per run that made these bytes
encoders/<version>/lineage.json what a tuned text encoder learned from; it lies elsewhere
retrain/<version>/<ticket>.json it saw somebody who was forgotten since
aliases.json                  candidate and champion, changed by compare-and-swap, with history
"""

from recommender.registry.decisions import Decision, Status
from recommender.registry.lineage import Lineage, code_version
from recommender.registry.marks import RetrainMark
from recommender.registry.registry import Registry
from recommender.registry.signing import verify

__all__ = ["Decision", "Lineage", "Registry", "RetrainMark", "Status", "code_version", "verify"]
