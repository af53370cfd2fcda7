"""Which registered models saw the person: they are marked, so that they are trained again.

To be called before the person's data goes: afterwards nobody could tell any more.

No model file holds a row of a user. The Transformer holds weights and, per item, a text
projection and the moment it was last taken; item-to-item co-occurrence and popularity hold sums
per item or pair of items. All of them depend on everybody's events, hence the marks.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recommender.forgetting import canonical
from recommender.forgetting.person import Person
from recommender.registry import Registry, RetrainMark


def mark(registry: Registry, data: Path, holding: Iterable[str], person: Person) -> tuple[str, ...]:
    """Mark every version whose training data held the person, or is not here to be looked at.

    Args:
        registry: of the models.
        data: `Workspace.data`.
        holding: data versions that hold the person.
        person: who is to be forgotten.

    Returns:
        the versions that bear this person's mark now.
    """
    names, holding = canonical.replaced(data), frozenset(holding)
    marked = []
    for version in registry.versions():
        trained_on = registry.lineage(version).data_version
        now_called = canonical.latest(trained_on, names)
        held = now_called in holding
        here = (data / "versions" / now_called).is_dir()
        if held or not here:
            registry.mark_for_retraining(version, RetrainMark(person.ticket, trained_on, held))
        if any(each.ticket == person.ticket for each in registry.retrain_marks(version)):
            marked.append(version)
    return tuple(marked)
