"""Every place where something about one person is kept: the one list of them.

What is added to the system adds a line here, if it writes a user's id, pseudonym or rows. What was
forgotten in the list is found by the scan at the end, and the command fails.

Not in the list, because nothing about one person is there: `registry/models` and `cache/models`
(weights, titles, lineage; signed, never changed), `cache/text` (vectors of items),
`cache/encoders`, `keys`, `features/registry.db` (definitions). The scan looks there all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.forget import erase_offline, erase_online
from feature_repo.profile import Profile
from recommender.config.feedback import FeedbackConfig
from recommender.config.served_log import ServedLogConfig
from recommender.features.behaviour import CACHE as BEHAVIOUR
from recommender.features.expectations.profile import NAME as PROFILES
from recommender.forgetting import bucket, canonical
from recommender.forgetting.artifacts import (
    erase_artifacts,
    files_of,
    remove_all,
    remove_leftovers,
    sweep,
)
from recommender.forgetting.person import Person
from recommender.forgetting.removed import NOTHING, Removed
from recommender.privacy import pseudonyms
from recommender.served_store import store_of
from recommender.sources.fetch import copies
from recommender.storage import Store
from recommender.workspace import Workspace
from serving.feedback.ledger import ledger_path, remove_from
from serving.feedback.request_id import SignedIds

_WRITING_S = 10.0
"""Files of the feature stores younger than this may be somebody's who is writing them now."""


@dataclass(frozen=True)
class Case:
    """Who is to be forgotten, and where.

    Attributes:
        person: who.
        paths: the workspace.
        profile: which feature stores are meant.
        log: where served lists and feedback lie.
        feedback: where feedback waits to be written.
        also: further stores that hold copies (an `s3://` of canonical tables, say).
        trained_on: whether some data version held the person when this began, or may have.
    """

    person: Person
    paths: Workspace
    profile: Profile
    log: ServedLogConfig
    feedback: FeedbackConfig
    also: tuple[Store, ...] = ()
    trained_on: bool = False


@dataclass(frozen=True)
class Place:
    """A place and how a person is taken out of it; doing so again changes nothing.

    Attributes:
        name: for people and for the certificate.
        where: folders and files, relative to the workspace.
        holds: what of a person is there.
        erase: takes them out.
    """

    name: str
    where: str
    holds: str
    erase: Callable[[Case], Removed]


def _leftovers(case: Case) -> Removed:
    paths = case.paths
    done = remove_leftovers(paths.features, older_than_s=_WRITING_S)
    for folder in sorted(paths.root.glob("*")):
        if folder.is_dir() and folder not in (paths.features, paths.keys):
            done += remove_leftovers(folder)
    return done


def _checkpoints(case: Case) -> Removed:
    return remove_all(case.paths.checkpoints) if case.trained_on else NOTHING


def _online(case: Case) -> Removed:
    return erase_online(case.paths, case.profile, case.person)


def _offline(case: Case) -> Removed:
    return erase_offline(case.paths, case.profile, case.person)


def _data(case: Case) -> Removed:
    paths = case.paths
    done = canonical.erase(paths.data, case.person)
    return done + canonical.rename(paths.features / PROFILES, paths.data)


def _raw(case: Case) -> Removed:
    return remove_all(*copies(case.paths.cache))


def _behaviour(case: Case) -> Removed:
    return remove_all(case.paths.cache / BEHAVIOUR)


def _artifacts(case: Case) -> Removed:
    return erase_artifacts(case.paths.kfp, case.person, case.paths.data)


def _serving(case: Case) -> Removed:
    return sweep(files_of(case.paths.serving), case.person)


def _shown(case: Case) -> Removed:
    """Take out lists that were shown to the person, and what came of them.

    Feedback names a list only; whose that was, its request id says to whoever has the key.
    """
    store = store_of(case.log, case.paths)
    ids = SignedIds(pseudonyms(case.paths.keys), 1.0)
    user, pseudonym = case.person.user_id, case.person.pseudonym

    def about_theirs(table: pa.Table) -> pa.Array:
        return pa.array([ids.belongs(name, user) for name in table["request_id"].to_pylist()])

    ledger = ledger_path(case.feedback, case.paths)
    waiting = remove_from(ledger, lambda name: ids.belongs(name, user))
    done = Removed(waiting, int(waiting > 0))
    done += Removed(*store.remove("feedback", about_theirs))
    for kind in ("served", "failed"):
        done += Removed(*store.remove(kind, lambda table: pc.equal(table["user"], pseudonym)))
    return done


def _runs(case: Case) -> Removed:
    return sweep(files_of(case.paths.run("any").parent), case.person)


def _registry(case: Case) -> Removed:
    unsigned = (path for path in case.paths.registry.glob("*") if path.name != "models")
    return sweep((path for each in unsigned for path in _below(each)), case.person)


def _copies(case: Case) -> Removed:
    done = NOTHING
    for store in case.also:
        done += bucket.erase(store, case.person, case.paths.data, case.paths.privacy)
    return done


def _elsewhere(case: Case) -> Removed:
    paths = case.paths
    known = {
        *(paths.data, paths.features, paths.checkpoints, paths.registry, paths.serving),
        *(paths.kfp, paths.keys, paths.privacy, paths.cache, paths.run("any").parent),
        *(paths.served, paths.feedback),
    }
    rest = [path for path in sorted(paths.root.glob("*")) if path not in known]
    done = sweep((path for path in rest if path.is_file()), case.person)
    for folder in (path for path in rest if path.is_dir()):
        done += erase_artifacts(folder, case.person, paths.data)
    return done


def _below(path: Path) -> Iterator[Path]:
    return files_of(path) if path.is_dir() else iter([path])


PLACES = (
    Place("leftovers", "*/.<name>.<random>, */.<name>.old", "what killed writers left", _leftovers),
    Place(
        "checkpoints",
        "checkpoints/",
        "no rows, but weights of trainings that were cut off and saw them",
        _checkpoints,
    ),
    Place(
        "online store",
        "features/online.db, or Redis",
        "sequence, profile, activity, behaviour, in every project; what their followers know",
        _online,
    ),
    Place(
        "offline store",
        "features/offline/<project>/*.parquet and user_event/, features/rejected/*.jsonl, or S3",
        "snapshots of the same; streamed events as they landed, and those that were rejected",
        _offline,
    ),
    Place(
        "data versions",
        "data/versions/, data/accepted.json, data/inputs/, features/accepted_profile.json",
        "events, attributes and edges of the follow graph by id",
        _data,
    ),
    Place("raw copies", "cache/{s3,downloads,unpacked}/", "the company's log as it came", _raw),
    Place("behaviour cache", "cache/behaviour/", "vectors of what they did, in words", _behaviour),
    Place(
        "pipeline artifacts",
        "kfp/<run>/",
        "tables, training data sets, frozen evaluation sets, figures per user, canary records",
        _artifacts,
    ),
    Place(
        "serving",
        "serving/rollouts/<id>/records.jsonl, serving/processes/*.log",
        "what a canary saw of them; whatever a server logged",
        _serving,
    ),
    Place(
        "served lists",
        "served/<day>/, feedback/<day>/, feedback/outbox.db, or where serving.log.location says",
        "lists as they were shown, what came of them",
        _shown,
    ),
    Place(
        "run records",
        "runs/<run>/",
        "examples of recommendations, examples in reports, logs of the steps",
        _runs,
    ),
    Place("registry", "registry/decisions/", "nothing by design; looked through", _registry),
    Place("other copies", "what --also names", "copies of any of these", _copies),
    Place("elsewhere", "anything else in the workspace", "unknown", _elsewhere),
)
"""In the order in which they are gone through. Data versions come before the artifacts, which take
over the new names."""
