"""What is known of people, as codes."""

from __future__ import annotations

from recommender.model.people import BUCKETS, PeopleCodes


def test_texts_are_values_numbers_are_buckets_and_what_is_missing_or_rare_is_unknown():
    people = [
        *({"sex": "f" if n % 3 else "m", "age": str(20 + n)} for n in range(40)),
        {"sex": "x"},
        None,
        {},
    ]
    codes = PeopleCodes.learned(people, ["sex", "age", "town"])
    assert codes.sizes == (3, 1 + BUCKETS, 2)
    asked = [{"sex": "f", "age": "20"}, {"sex": "m", "age": "59"}, {"sex": "x", "age": "?"}, None]
    found = codes.of(asked, 4)
    # The more frequent value comes first; a single person's is too rare to learn from.
    assert found[:, 0].tolist() == [1, 2, 0, 0]
    assert found[:, 1].tolist() == [1, BUCKETS, 0, 0]
    assert found[:, 2].tolist() == [0, 0, 0, 0]
    assert codes.of(None, 2).tolist() == [[0, 0, 0]] * 2
    # Out of the range that was seen, and not finite.
    assert codes.of([{"age": "-5"}, {"age": "1e9"}, {"age": "inf"}], 3)[:, 1].tolist() == [1, 8, 0]


def test_few_numbers_are_values_of_their_own():
    people = [{"stars": str(n % 5)} for n in range(20)]
    assert PeopleCodes.learned(people, ["stars"]).sizes == (6,)


def test_codes_come_back_from_json():
    codes = PeopleCodes.learned([{"age": str(n), "sex": "f"} for n in range(30)], ["age", "sex"])
    assert PeopleCodes.from_json(codes.to_json()) == codes
