"""The distinct items before each context: the same in every way of finding them, in little room."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from largest_tensor import LargestTensor

from recommender.model import heads
from recommender.model.heads import Contexts, Pairs


def compared(items: torch.Tensor, contexts: Contexts) -> list[tuple[int, int, int, int]]:
    """Return context, item, last event and count, each event compared with all before it."""
    found = []
    for context, (row, position) in enumerate(
        zip(contexts.row.tolist(), contexts.position.tolist(), strict=True)
    ):
        past = items[row, :position].tolist()
        last = {item: place for place, item in enumerate(past)}
        found += [(context, item, at, past.count(item)) for item, at in last.items()]
    return sorted(found, key=lambda pair: (pair[0], pair[2]))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 4), st.integers(0, 9), st.integers(1, 6), st.integers(0, 9), st.integers(0, 5)
)
def test_pairs_are_those_that_comparing_finds(rows, events, kinds, asked, seed) -> None:
    torch.manual_seed(seed)
    items = torch.randint(kinds, (rows, events))
    asked = asked if rows else 0
    row = torch.randint(max(1, rows), (asked,))
    contexts = Contexts(row, torch.randint(events + 1, (asked,)), torch.zeros(asked))
    pairs = Pairs.of(items, contexts)
    told = (pairs.context, pairs.item, pairs.event, pairs.count)
    assert list(zip(*(each.tolist() for each in told), strict=True)) == compared(items, contexts)


def every_moment(rows: int, events: int) -> tuple[torch.Tensor, Contexts]:
    torch.manual_seed(1)
    row = torch.arange(rows).repeat_interleave(events)
    position = torch.arange(1, events + 1).repeat(rows)
    items = torch.randint(events // 8, (rows, events))
    return items, Contexts(row, position, torch.zeros(rows * events))


def test_contexts_that_are_looked_at_in_parts_give_the_same(monkeypatch) -> None:
    items, contexts = every_moment(3, 40)
    whole = Pairs.of(items, contexts)
    monkeypatch.setattr(heads, "_CELLS_AT_ONCE", 70)
    parts = Pairs.of(items, contexts)
    for name in ("context", "item", "event", "count"):
        assert torch.equal(getattr(whole, name), getattr(parts, name)), name


def test_long_histories_take_room_for_what_is_found_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, events, at_once = 8, 256, 2**14
    items, contexts = every_moment(rows, events)
    monkeypatch.setattr(heads, "_CELLS_AT_ONCE", at_once)
    with LargestTensor() as seen:
        pairs = Pairs.of(items, contexts)
    assert len(pairs.item) < rows * events * events // 8
    # Places in the matrix of contexts and events come in twos.
    assert seen.elements <= max(2 * at_once, len(pairs.item))
