"""Request ids prove which list they name, expire, and tell nothing of the user."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.privacy import Pseudonyms
from serving.feedback.request_id import InvalidRequestIdError, SignedIds

T = 1_700_000_000_000
NAMES = Pseudonyms(b"a key of sixteen bytes or more")
IDS = SignedIds(NAMES, 60.0)
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(texts, texts, st.lists(texts, unique=True, max_size=120), st.integers(0, 2**45))
@settings(max_examples=80, deadline=None)
def test_an_id_says_which_list_it_names(
    user: str, version: str, items: list[str], time: int
) -> None:
    request = IDS.read(IDS.make(user, version, "live", items, time), time)
    assert (request.time, request.lane, request.version) == (time, "live", version)
    assert all(request.shows(item) for item in items)
    assert IDS.is_of(request, user)
    assert not IDS.is_of(request, user + "x")
    if len(items) > 100:
        assert request.shows("anything")  # left to the join


def test_items_that_were_not_shown_are_told_from_those_that_were() -> None:
    request = IDS.read(IDS.make("ann", "m-1", "live", ["a", "b"], T), T)
    wrong = sum(request.shows(f"other {number}") for number in range(5_000))
    assert wrong <= 3  # 2 in 65,536 each


def test_every_change_of_a_byte_is_noticed() -> None:
    told = IDS.make("ann", "m-1", "live", ["a"], T)
    for place in range(len(told)):
        for letter in "Ab_.":
            if letter == told[place]:
                continue
            with pytest.raises(InvalidRequestIdError):
                IDS.read(told[:place] + letter + told[place + 1 :], T)


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_whatever_else_comes_is_none_of_ours(text: str) -> None:
    with pytest.raises(InvalidRequestIdError):
        IDS.read(text, T)


def test_an_id_expires_and_another_key_does_not_know_it() -> None:
    told = IDS.make("ann", "m-1", "live", ["a"], T)
    assert IDS.read(told, T + 60_000).time == T
    with pytest.raises(InvalidRequestIdError, match="expired"):
        IDS.read(told, T + 60_001)
    others = SignedIds(Pseudonyms(b"another key, just as long"), 60.0)
    with pytest.raises(InvalidRequestIdError, match="changed"):
        others.read(told, T)
    # Another server of the same installation does know it.
    assert SignedIds(Pseudonyms(b"a key of sixteen bytes or more"), 60.0).read(told, T)


def test_an_id_holds_neither_the_user_nor_the_pseudonym_nor_what_two_of_theirs_share() -> None:
    ids = [IDS.make("user-4711", "m-1", "live", ["a"], T) for _ in range(2)]
    payloads = [base64.urlsafe_b64decode(told.partition(".")[0] + "==") for told in ids]
    pseudonym = NAMES.of("user-4711")
    for payload in payloads:
        assert b"user-4711" not in payload
        assert bytes.fromhex(pseudonym)[:4] not in payload
    first, second = (IDS.read(told, T).user for told in ids)
    assert first != second
    assert all(IDS.belongs(told, "user-4711") for told in ids)
    assert not IDS.belongs(ids[0], "user-4712")
    assert not IDS.belongs("nothing of ours", "user-4711")
    nobody = IDS.read(IDS.make(None, "m-1", "live", ["a"], T), T)
    assert not IDS.is_of(nobody, "user-4711")
