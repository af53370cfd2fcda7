"""MovieLens in its official layouts, as a mapping: found by its files, read as any other table."""

from __future__ import annotations

import glob
from pathlib import Path, PurePosixPath

from recommender.config.mapping import (
    Condition,
    EventColumns,
    EventRule,
    EventsMapping,
    EventTypes,
    ItemColumns,
    ItemsMapping,
    TimeFormat,
    UsersMapping,
)
from recommender.config.source import MappedSource, MovieLensSource
from recommender.errors import SourceError
from recommender.sources.fetch import Fetched, fetch

_RATINGS = ("userId", "movieId", "rating", "timestamp")
_MOVIES = ("movieId", "title", "genres")
_USERS = ("userId", "gender", "age", "occupation", "zip")
_NO_GENRES = ("(no genres listed)",)

# The codes of users.dat, from the README that comes with MovieLens 1M.
_AGES = {
    "1": "under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56+",
}
_OCCUPATIONS = (
    "other or not specified",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
)
_LABELS = {"age": _AGES, "occupation": {str(i): name for i, name in enumerate(_OCCUPATIONS)}}


def as_mapping(config: MovieLensSource, cache: Path) -> MappedSource:
    """Find the layout and return the mapping that reads it.

    Args:
        config: where it lies.
        cache: folder for downloads and copies.

    Raises:
        SourceError: nothing is there, or none of the layouts.
        StorageError: S3 refuses or can't be reached, or the disk is full.
    """
    fetched = fetch(config.location, cache, config.sha256)
    folder = _folder(fetched, "ratings.csv", "movies.csv")
    if folder is not None:
        return _mapping(config, folder, "csv", config.encoding or "utf-8")
    folder = _folder(fetched, "ratings.dat", "movies.dat", "users.dat")
    if folder is not None:
        return _mapping(config, folder, "dat", config.encoding or "latin-1")
    raise SourceError(
        f"{fetched.location} is no MovieLens layout: it needs ratings.csv and movies.csv, or "
        f"ratings.dat, movies.dat and users.dat; {fetched.listed()}",
        "grouplens.org/datasets/movielens has the official files",
    )


def _folder(fetched: Fetched, *names: str) -> PurePosixPath | None:
    """Return the folder, nearest to the top, that holds all of these files."""
    present = {PurePosixPath(fetched.name(path)) for path in fetched.files}
    folders = sorted({path.parent for path in present}, key=lambda path: (len(path.parts), path))
    for folder in folders:
        if all(folder / name in present for name in names):
            return folder
    return None


def _mapping(
    config: MovieLensSource, folder: PurePosixPath, ending: str, encoding: str
) -> MappedSource:
    old = ending == "dat"

    def files(name: str, header: tuple[str, ...]) -> dict[str, object]:
        return {
            "location": config.location,
            "sha256": config.sha256,
            "pattern": glob.escape(str(folder / f"{name}.{ending}")),
            "encoding": encoding,
            "delimiter": "::" if old else ",",
            "quoted": not old,
            "header": header if old else (),
        }

    liked = Condition(column="rating", at_least=config.like_from)
    events = {
        "columns": EventColumns(user="userId", item="movieId", time="timestamp", value="rating"),
        "time": TimeFormat(unit="s"),
        "types": EventTypes(rules=(EventRule(event="like", when=liked), EventRule(event="rate"))),
    }
    items = {
        "columns": ItemColumns(item="movieId", title="title", categories="genres", separator="|"),
        "missing": _NO_GENRES,
    }
    users = {"user": "userId", "attributes": _USERS[1:], "labels": _LABELS}
    return MappedSource(
        events=EventsMapping.model_validate(files("ratings", _RATINGS) | events),
        items=ItemsMapping.model_validate(files("movies", _MOVIES) | items),
        users=UsersMapping.model_validate(files("users", _USERS) | users) if old else None,
    )
