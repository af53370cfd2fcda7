"""Print the environment that the `feast` program needs, for one configuration.

Which stores are meant is read from the environment (`OSTINATO_PROFILE` …, see `profile.py`);
connection strings are already there, and are not printed.

Usage: eval "$(python -m feature_repo.environment configs/synthetic.yaml [live|rehearsal])"
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import cast

from feature_repo.choices import Choices
from feature_repo.locations import FEATURES_VARIABLE, PROJECT_VARIABLE, Lane, project_name
from feature_repo.profile import PROFILE_VARIABLE, read_profile
from recommender.config import Config, load
from recommender.errors import UserError


def environment(config: Config, lane: Lane) -> dict[str, str]:
    """Return the variables that the profile's YAML file and `repo.py` read, but for its secrets.

    Raises:
        ConfigError: the environment names no whole profile.
    """
    profile = read_profile()
    return {
        PROFILE_VARIABLE: profile.name,
        # Feast's own variable; without it the program reads feature_store.yaml.
        "FEAST_FS_YAML_FILE_PATH": str(profile.definition),
        PROJECT_VARIABLE: project_name(config, lane),
        FEATURES_VARIABLE: str(config.paths.features),
        **Choices.of(config).variables(),
    }


def main(arguments: list[str]) -> int:
    """Print `export` lines for a shell; return the exit code."""
    if not 1 <= len(arguments) <= 2 or arguments[1:] not in ([], ["live"], ["rehearsal"]):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    lane = cast(Lane, arguments[1] if len(arguments) == 2 else "live")
    try:
        variables = environment(load(Path(arguments[0])), lane)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"export {k}={shlex.quote(v)}\n" for k, v in variables.items())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
