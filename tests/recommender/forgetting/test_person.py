"""What is a mention of somebody, and what only looks like one."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest
from forget_people import NAMES, person
from hypothesis import assume, given
from hypothesis import strategies as st

IDS = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() == text)
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=8)


@pytest.mark.parametrize(
    "text",
    [
        "user u0042 asked",
        "u0042",
        "'u0042'.",
        '{"u0042": 1}',
        "/users/u0042?k=1",
        "(u0042)",
        "…u0042…",
    ],
)
def test_an_id_that_stands_by_itself_is_a_mention(text):
    assert person("u0042").is_in_text(text)
    assert person("u0042").is_in_bytes(text.encode(), binary=False)


@pytest.mark.parametrize(
    "text", ["u00421", "xu0042", "u0042_1", "u0042-1", "u0042.5", "a.u0042", ""]
)
def test_a_longer_word_that_holds_it_is_not(text):
    assert not person("u0042").is_in_text(text)
    assert not person("u0042").is_in_bytes(text.encode(), binary=False)


@pytest.mark.parametrize(
    "text",
    ["user 42", "user_id=42", '"user_id": "42"', "users/42", "For user 42:", "customer id 42."],
)
def test_a_number_is_a_mention_where_it_is_called_a_user(text):
    assert person("42").is_in_text(text)


@pytest.mark.parametrize(
    "text",
    ["42", "took 42 s", "item 42", "user 421", "user 7, 42 items", "users: 4 of 42", "user u42"],
)
def test_a_number_by_itself_is_not(text):
    assert not person("42").is_in_text(text)


def test_a_word_is_a_mention_only_where_it_is_called_a_user():
    me = person("history")
    assert not me.is_in_text("the history of item 3")
    assert not me.is_cell("history", "kind")
    assert me.is_cell("history", "user_id")
    assert me.is_in_text("no events of user 'history'")


def test_names_of_columns_decide_about_cells():
    strong, weak = person("u0042"), person("42")
    assert strong.is_cell("u0042", "who")
    assert not weak.is_cell("42", "who")
    for each in (strong, weak):
        assert each.is_cell(each.user_id, "user_id")
        assert not each.is_cell(each.user_id, "item_id")
        assert each.is_cell(each.pseudonym, "item_id"), "a pseudonym is never anything else"


@given(IDS, IDS)
def test_another_user_is_never_a_mention(mine, other):
    assume(mine != other)
    me = person(mine)
    assert not me.is_cell(other, "user_id")
    assert not me.is_cell(NAMES.of(other), "user_id")
    assert not me.is_marked_in(f"{NAMES.of(other)}".encode() + person(other).keys[0])


@given(IDS, WORDS)
def test_every_way_of_writing_an_id_is_found(mine, word):
    me = person(mine)
    assume("\n" not in mine and mine.isprintable())
    for written in (mine, json.dumps(mine)[1:-1], html.escape(mine), quote(mine, safe="")):
        text = f"{word} user {written} {word}"
        assert me.is_in_text(text), text
    assert me.is_in_text(f"{word}{me.pseudonym}{word}")


@given(st.binary(max_size=64), IDS, st.binary(max_size=64))
def test_the_keys_of_stores_are_found_in_any_bytes(before, mine, after):
    me = person(mine)
    assert me.is_in_bytes(before + me.keys[0] + after, binary=True)
    assert me.is_in_bytes(before + bytes.fromhex(me.pseudonym) + after, binary=True)


def test_short_ids_are_not_looked_for_in_weights():
    assert not person("u042").is_in_bytes(b"\0\1 u042 \2", binary=True)
    assert person("u000042").is_in_bytes(b"\0\1 u000042 \2", binary=True)


def test_a_ticket_says_nothing_of_the_person():
    me = person("u0042")
    assert len(me.ticket) == 16
    assert me.ticket not in me.pseudonym
    assert person("u0043").ticket != me.ticket == person("u0042").ticket
