"""What `feast apply` reads: every definition, at module level, for one project.

Feast runs this file to learn what there is, so this is the one place in the project where the
environment is read at import:

`OSTINATO_FEATURES`       folder of the stores; default `.ostinato/synthetic/features`
`OSTINATO_FEAST_PROJECT`  the project; default `synthetic`

`OSTINATO_TEXT_ENCODERS`   slugs of further text encoders, with commas; default none
`OSTINATO_USER_BEHAVIOUR`  1 for the view `user_behaviour`; default 0

`python -m feature_repo.environment CONFIG` prints them for a configuration. Programs don't
import this file; `feature_repo/store.py` makes the same definitions for the project it is told.
"""

from __future__ import annotations

import os
from pathlib import Path

from feature_repo.choices import Choices
from feature_repo.entities import ITEM, USER
from feature_repo.locations import FEATURES_VARIABLE, PROJECT_VARIABLE, offline_folder
from feature_repo.services import services
from feature_repo.views import views

_folder = offline_folder(
    Path(os.environ.get(FEATURES_VARIABLE, ".ostinato/synthetic/features")).absolute(),
    os.environ.get(PROJECT_VARIABLE, "synthetic"),
)
_choices = Choices.read()
_views = views(_folder, _choices)
_services = services(_views)

user = USER
item = ITEM
user_sequence = _views["user_sequence"]
user_profile = _views["user_profile"]
item_text = _views["item_text"]
item_attributes = _views["item_attributes"]
if _choices.behaviour:
    user_behaviour = _views["user_behaviour"]
unified_v1 = _services["unified_v1"]
unified_v1_items = _services["unified_v1_items"]
