"""Forgetting a person from beginning to end; killed at any point, a second call finishes it.

    locks → on the suppression list → models marked → place by place → scan → certificate

The order makes a kill harmless. Whoever is on the list can't come back while the rest is done, and
models are marked while it can still be seen which of them saw the person. Each place is done again
by a second call, and one that is done changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from feature_repo.forget import keys_of, scan_online
from feature_repo.profile import read_profile
from feature_repo.store import taking_turns
from pipelines.forget.places import PLACES, Case
from pipelines.run import alone
from recommender.config import Config
from recommender.errors import UserError
from recommender.forgetting import bucket, canonical, certificate, models
from recommender.forgetting.certificate import Certificate
from recommender.forgetting.person import Person
from recommender.forgetting.scan import Scan, scan
from recommender.forgetting.suppression import FILE, Suppressions
from recommender.privacy import pseudonyms
from recommender.registry import Registry
from recommender.storage import open_store
from serving.rollout.release import rollouts_of

_ROUNDS = 3
_SHOWN = 5


class UnknownUserError(UserError):
    """Nothing about this user was found."""


class NotForgottenError(UserError):
    """The scan still finds the person, or can't read everything."""


@dataclass(frozen=True)
class Found:
    """What is known of somebody before anything is done.

    Attributes:
        scan: where they are.
        since: when they were put on the suppression list, or None.
    """

    scan: Scan
    since: str | None


def find(config: Config, user_id: str, also: Sequence[str] = ()) -> Found:
    """Look for a person everywhere; changes nothing.

    Args:
        config: of the data set.
        user_id: as in the data.
        also: further places that hold copies: folders or `s3://bucket/prefix`.

    Raises:
        UserError: a store can't be read.
    """
    case = _case(config, user_id, also)
    return Found(_proof(case), Suppressions(config.paths).since(user_id))


def forget(
    config: Config,
    user_id: str,
    *,
    also: Sequence[str] = (),
    unknown_too: bool = False,
    after_each: Callable[[str], None] = lambda _: None,
) -> Certificate:
    """Remove a person from everything, keep them out, and prove it.

    Args:
        config: of the data set.
        user_id: as in the data.
        also: further places that hold copies: folders or `s3://bucket/prefix`.
        unknown_too: keep out somebody of whom nothing is found, too.
        after_each: called with the name of every place that is done.

    Returns:
        the certificate, which also lies in the workspace.

    Raises:
        UnknownUserError: nothing was found, and nothing was done.
        NotForgottenError: the person is still somewhere; the message says where.
        ConfigError: a run is at work here.
        RolloutError: a rollout is being driven here.
        UserError: a store can't be read or written; a second call finishes the work.
    """
    paths = config.paths
    with nobody_else(config):
        case = _case(config, user_id, also)
        listed = Suppressions(paths)
        before = _proof(case)
        again = listed.is_suppressed(user_id)
        if not (before.traces or again or unknown_too):
            raise UnknownUserError(
                f"nothing about the user {user_id!r} was found in {paths.root}",
                "check the id; --suppress keeps it out all the same if it ever comes",
            )
        listed.add(user_id)
        told = certificate.begin(paths, case.person.ticket, config.name)
        certificate.write(paths, told)
        # What can't be told to be theirs (a vector, a checkpoint) leaves no trace to find.
        cut_off = again and told.proved is None
        if before.traces or cut_off:
            holding = canonical.versions_with(paths.data, case.person)
            case = replace(case, trained_on=bool(holding) or cut_off)
            marked = models.mark(Registry.configured(config), paths.data, holding, case.person)
            told = replace(told, models=tuple(sorted({*told.models, *marked})), proved=None)
            certificate.write(paths, told)
            after_each("models")
            found = None
        else:
            found = before
        told = _until_clean(case, told, found, after_each)
        certificate.write(paths, told)
        return told


def _until_clean(
    case: Case, told: Certificate, found: Scan | None, after_each: Callable[[str], None]
) -> Certificate:
    """Go through the places until the scan finds nothing: a stream may have been writing.

    Args:
        case: who and where.
        told: of what was done before.
        found: by a scan after which nothing is to be done; None: there is something to do.
        after_each: called with the name of every place that is done.
    """
    for _ in range(_ROUNDS):
        if found is not None and not found.traces:
            break
        for place in PLACES:
            told = told.also(place.name, place.erase(case))
            certificate.write(case.paths, told)
            after_each(place.name)
        found = _proof(case)
    found = found or _proof(case)
    told = told.closed(found)
    if not found.clean:
        certificate.write(case.paths, told)
        raise NotForgottenError(*_left(found))
    return told


@contextmanager
def nobody_else(config: Config) -> Iterator[None]:
    """Keep runs, rollouts and publications of this workspace out meanwhile.

    Raises:
        ConfigError: a run is at work.
        RolloutError: a rollout is being driven.
    """
    if not config.paths.root.is_dir():
        raise UnknownUserError(
            f"{config.paths.root} does not exist, so nobody is known there",
            "name the data set with --config, or its folder with --workspace",
        )
    with (
        alone(config.paths.root),
        rollouts_of(config).locked(),
        taking_turns(config.paths),
    ):
        yield


def _case(config: Config, user_id: str, also: Sequence[str]) -> Case:
    person = Person.of(user_id, pseudonyms(config.paths.keys), keys_of(user_id))
    elsewhere = [config.registry.location] if config.registry.location else []
    stores = tuple(open_store(location) for location in (*also, *elsewhere))
    serving = config.serving
    return Case(person, config.paths, read_profile(), serving.log, serving.feedback, stores)


def _proof(case: Case) -> Scan:
    """Look for the person in everything there is."""
    paths, offline = case.paths, case.profile.offline
    found = scan(paths.root, case.person, skip=(paths.privacy / FILE,))
    found += scan_online(case.profile, case.person)
    elsewhere = [offline, case.log.location]
    stores = [*case.also, *(open_store(location) for location in elsewhere if location)]
    for store in stores:
        found += bucket.scan(store, case.person, paths.privacy)
    return found


def _left(found: Scan) -> tuple[str, str]:
    if found.traces:
        places = [f"  {trace.where}: {trace.count}" for trace in found.traces[:_SHOWN]]
        more = len(found.traces) - _SHOWN
        return (
            f"the user is still in {len(found.traces)} places:\n"
            + "\n".join(places)
            + (f"\n  and {more} more" if more > 0 else ""),
            "run it again; if a place stays, remove that file by hand",
        )
    shown = "\n".join(f"  {each}" for each in found.unreadable[:_SHOWN])
    return (
        f"nobody can say who is in {len(found.unreadable)} files that can't be decoded:\n{shown}",
        "remove or repair them, then run again; the user was removed from everything else",
    )
