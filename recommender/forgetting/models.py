"""Which registered models and encoders saw the person: they are marked, to be trained again.

To be called before the person's data goes: afterwards nobody could tell any more.

No model file holds a row of a user. The Transformer holds weights and, per item, a text
projection and the moment it was last taken; item-to-item co-occurrence and popularity hold sums
per item or pair of items. All of them depend on everybody's events, hence the marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from recommender.forgetting import canonical
from recommender.forgetting.person import Person
from recommender.registry import Lineage, Registry, RetrainMark
from recommender.registry.encoders import EncoderLineage, version_in


def mark(registry: Registry, data: Path, holding: Iterable[str], person: Person) -> tuple[str, ...]:
    """Mark every version whose training data held the person, or is not here to be looked at.

    A version that started from a marked one (a refresh, a transfer) is marked, too: what that knew
    of the person came with its weights. So are text encoders that were tuned on what the person
    did, or from a marked one, and every model that reads what such an encoder makes of words.

    Args:
        registry: of the models.
        data: `Workspace.data`.
        holding: data versions that hold the person.
        person: who is to be forgotten.

    Returns:
        the versions that bear this person's mark now, of models (`m-…`) and encoders (`e-…`).
    """
    names, holding = canonical.replaced(data), frozenset(holding)
    came = {version: _model(registry.lineage(version)) for version in registry.versions()}
    encoders = registry.encoders.lineages()
    came |= {version: _encoder(lineage) for version, lineage in encoders.items()}
    marked: dict[str, bool] = {}
    for version, origin in came.items():
        now_called = [canonical.latest(name, names) for name in origin.data_versions]
        held = any(name in holding for name in now_called)
        marks = registry.encoders.marks if version in encoders else registry.retrain_marks
        if held or not all((data / "versions" / name).is_dir() for name in now_called):
            marked[version] = held
        elif any(each.ticket == person.ticket for each in marks(version)):
            marked[version] = True
    while followers := _followers(came, marked):
        marked |= followers
    for version, certain in marked.items():
        wanted = RetrainMark(person.ticket, came[version].data_versions[0], certain)
        if version in encoders:
            registry.encoders.mark(version, wanted)
        else:
            registry.mark_for_retraining(version, wanted)
    return tuple(version for version in came if version in marked)


@dataclass(frozen=True)
class _Origin:
    """What a version learned from: data versions, and what it started from or reads."""

    data_versions: tuple[str, ...]
    versions: tuple[str | None, ...]


def _model(lineage: Lineage) -> _Origin:
    begun = lineage.training.get("transfer", {}).get("from")
    reads = version_in(lineage.encoder)
    return _Origin((lineage.data_version,), (*lineage.parents, begun, reads))


def _encoder(lineage: EncoderLineage) -> _Origin:
    return _Origin(lineage.data_versions, (version_in(lineage.base),))


def _followers(came: Mapping[str, _Origin], marked: Mapping[str, bool]) -> dict[str, bool]:
    """Return the versions that started from marked ones and are not marked, and how certain."""
    found = {}
    for version, origin in came.items():
        origins = [each for each in origin.versions if each is not None and each in marked]
        if origins and version not in marked:
            found[version] = any(marked[each] for each in origins)
    return found
