"""Which registered models saw the person: they are marked, so that they are trained again.

To be called before the person's data goes: afterwards nobody could tell any more.

No model file holds a row of a user. The Transformer holds weights and, per item, a text
projection and the moment it was last taken; item-to-item co-occurrence and popularity hold sums
per item or pair of items. All of them depend on everybody's events, hence the marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from recommender.forgetting import canonical
from recommender.forgetting.person import Person
from recommender.registry import Lineage, Registry, RetrainMark


def mark(registry: Registry, data: Path, holding: Iterable[str], person: Person) -> tuple[str, ...]:
    """Mark every version whose training data held the person, or is not here to be looked at.

    A version that started from a marked one (a refresh, a transfer) is marked, too: what that knew
    of the person came with its weights.

    Args:
        registry: of the models.
        data: `Workspace.data`.
        holding: data versions that hold the person.
        person: who is to be forgotten.

    Returns:
        the versions that bear this person's mark now.
    """
    names, holding = canonical.replaced(data), frozenset(holding)
    lineages = {version: registry.lineage(version) for version in registry.versions()}
    marked: dict[str, bool] = {}
    for version, lineage in lineages.items():
        now_called = canonical.latest(lineage.data_version, names)
        held = now_called in holding
        if held or not (data / "versions" / now_called).is_dir():
            marked[version] = held
        elif any(each.ticket == person.ticket for each in registry.retrain_marks(version)):
            marked[version] = True
    while followers := _followers(lineages, marked):
        marked |= followers
    for version, certain in marked.items():
        wanted = RetrainMark(person.ticket, lineages[version].data_version, certain)
        registry.mark_for_retraining(version, wanted)
    return tuple(version for version in lineages if version in marked)


def _followers(lineages: Mapping[str, Lineage], marked: Mapping[str, bool]) -> dict[str, bool]:
    """Return the versions that started from marked ones and are not marked, and how certain."""
    found = {}
    for version, lineage in lineages.items():
        begun = lineage.training.get("transfer", {}).get("from")
        origins = [each for each in (*lineage.parents, begun) if each in marked]
        if origins and version not in marked:
            found[version] = any(marked[each] for each in origins)
    return found
