"""Publishing the live features again, from data that were accepted before.

    python -m feature_repo.publish_live CONFIGURATION [DATA VERSION]

does what `ostinato features publish` does, where there is no such command (the image of
`materialize`); the configuration is the text of a YAML file.
"""

from __future__ import annotations

import sys

from feature_repo.history_as_of import accepted_data
from feature_repo.sound_publication import publish_sound
from feature_repo.store import PublishReport
from recommender.config import Config


def publish_live(config: Config, data_version: str = "") -> PublishReport:
    """Publish the live features again, from accepted data and all streamed events that landed.

    For an online store that was emptied, or whose features are to go back to the data before.

    Args:
        config: of the data set.
        data_version: one of the last two accepted ones; empty: the last.

    Raises:
        FeatureError: no data was accepted yet, or not this version; or as for `publish_sound`.
        DataQualityError: an expectation is broken; nothing was published.
        StorageError: the data are gone or can't be read, or a snapshot can't be written.
    """
    data = accepted_data(config, data_version)
    return publish_sound(config, data.tables, None, "live", data.data_version)


def main() -> None:
    """Publish what the configuration in the arguments says."""
    import yaml

    from recommender.config import parse
    from recommender.errors import UserError

    text, *version = sys.argv[1:]
    try:
        told = publish_live(parse(yaml.safe_load(text), "the argument"), *version)
    except UserError as error:
        raise SystemExit(str(error)) from None
    print(f"{told.users} users, {told.items} items, {told.landed} landed events: {told.project}")


if __name__ == "__main__":
    main()
