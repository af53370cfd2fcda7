"""What `feast apply` reads: every definition, at module level, for one project.

Feast runs this file to learn what there is, so this is the one place in the project where the
environment is read at import:

`OSTINATO_FEATURES`          folder of the stores; default `.ostinato/synthetic/features`
`OSTINATO_FEAST_PROJECT`     the project; default `synthetic`
`OSTINATO_PROFILE` …         which stores are meant (see `profile.py`); default `embedded`
`OSTINATO_TEXT_ENCODERS`     slugs of further text encoders, with commas; default none
`OSTINATO_USER_BEHAVIOUR`    1 for the view `user_behaviour`; default 0
`OSTINATO_USER_SOCIAL`       1 for the view `user_social`; default 0
`OSTINATO_ACTIVITY_WINDOWS`  windows of `user_activity` in days, with commas; default 1,7,30,90
`OSTINATO_EVENT_RULES`       what pushed events must be like, as JSON; default: none can be pushed

`python -m feature_repo.environment CONFIG` prints them for a configuration. Programs don't
import this file; `feature_repo/sdk.py` applies the same definitions to the project it is told.
"""

from __future__ import annotations

import os
from pathlib import Path

from feature_repo.choices import Choices
from feature_repo.definitions import definitions
from feature_repo.locations import FEATURES_VARIABLE, PROJECT_VARIABLE
from feature_repo.profile import read_profile

_project = os.environ.get(PROJECT_VARIABLE, "synthetic")
_features = Path(os.environ.get(FEATURES_VARIABLE, ".ostinato/synthetic/features"))

# Feast takes whatever it finds at module level; the names are those of the definitions.
globals().update(
    definitions(_project, read_profile().offline_location(_features, _project), Choices.read())
)
