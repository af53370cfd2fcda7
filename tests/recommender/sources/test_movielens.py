"""MovieLens in every official layout; the small ones are written here, the real one is counted."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from recommender.config import Config
from recommender.errors import SourceError
from recommender.sources.read import read

# As in ml-25m and ml-32m: quoted titles, half stars, files beside the two that count.
CSV = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,296,5.0,1147880044\n1,306,3.5,1147868817\n"
    "2,296,4.0,1147868817\n",
    "movies.csv": 'movieId,title,genres\n296,"Pulp Fiction (1994)",Comedy|Crime|Drama\n'
    '306,"Three Colors: Red (Trois couleurs: Rouge) (1994)",(no genres listed)\n'
    '1234,"Sting, The (1973)",Comedy|Crime\n',
    "tags.csv": "userId,movieId,tag,timestamp\n",
    "genome-scores.csv": "movieId,tagId,relevance\n",
}
DAT = {
    "ratings.dat": "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n",
    "movies.dat": "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
    '1193::One Flew Over the "Cuckoo\'s" Nest (1975)::Drama\n'
    "3881::Misérables, Les (1995)::Drama|Musical\n",
    "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n3::M::25::15::55117\n",
}


def _folder(path: Path, files: dict[str, str], encoding: str) -> Path:
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_bytes(content.encode(encoding))
    return path


def _source(path: Path, **more: object) -> dict[str, object]:
    return {"kind": "movielens", "location": str(path), **more}


def test_the_csv_layout_of_25m_and_32m(tmp_path: Path, configured: Callable[..., Config]) -> None:
    folder = _folder(tmp_path / "ml-25m", CSV, "utf-8")
    tables, report = read(configured(_source(folder)))
    events = tables.events.to_pylist()
    assert [(e["user_id"], e["item_id"], e["event"], e["value"]) for e in events] == [
        ("1", "306", "rate", 3.5),
        ("2", "296", "like", 4.0),
        ("1", "296", "like", 5.0),
    ]
    assert events[0]["time"].isoformat() == "2006-05-17T12:26:57+00:00"
    # The first two share a second: the order of the file decides.
    assert [e["event_id"] for e in events] == ["000000000001", "000000000002", "000000000000"]
    items = {item["item_id"]: item for item in tables.items.to_pylist()}
    assert items["296"]["title"] == "Pulp Fiction (1994)"
    assert items["296"]["categories"] == ["Comedy", "Crime", "Drama"]
    assert items["296"]["text"] == "Pulp Fiction (1994). Comedy, Crime, Drama"
    assert items["306"]["categories"] is None
    assert items["1234"]["title"] == "Sting, The (1973)"
    assert tables.users["user_id"].to_pylist() == ["1", "2"]
    assert report.dropped == []
    assert [file.name for file in report.files] == ["ratings.csv", "movies.csv"]


def test_the_layout_of_1m_in_latin_1_with_attributes(
    tmp_path: Path, configured: Callable[..., Config]
) -> None:
    folder = _folder(tmp_path / "ml-1m", DAT, "latin-1")
    tables, _ = read(configured(_source(folder, like_from=5)))
    assert tables.events["event"].to_pylist() == ["rate", "like", "rate"]
    titles = tables.items["title"].to_pylist()
    assert titles[2] == "Misérables, Les (1995)"
    assert titles[1] == 'One Flew Over the "Cuckoo\'s" Nest (1975)'
    assert tables.users.to_pylist()[0] == {
        "user_id": "1",
        "attributes": [
            ("gender", "F"),
            ("age", "under 18"),
            ("occupation", "K-12 student"),
            ("zip", "48067"),
        ],
    }
    # A user without a rating is known all the same.
    assert tables.users["user_id"].to_pylist() == ["1", "2", "3"]


def test_a_zip_with_a_folder_in_it_as_published(
    tmp_path: Path, configured: Callable[..., Config]
) -> None:
    with zipfile.ZipFile(tmp_path / "ml-1m.zip", "w") as archive:
        for name, content in DAT.items():
            archive.writestr(f"ml-1m/{name}", content.encode("latin-1"))
    tables, report = read(configured(_source(tmp_path / "ml-1m.zip")))
    assert tables.events.num_rows == 3
    assert report.files[0].name == "ml-1m/ratings.dat"


def test_a_folder_that_is_no_movielens_says_what_is_there(
    tmp_path: Path, configured: Callable[..., Config]
) -> None:
    folder = _folder(tmp_path / "ml", {"ratings.csv": "a", "films.csv": "b"}, "utf-8")
    with pytest.raises(SourceError, match=r"no MovieLens layout.*it has films\.csv, ratings\.csv"):
        read(configured(_source(folder)))


def test_titles_in_another_encoding_name_line_and_key(
    tmp_path: Path, configured: Callable[..., Config]
) -> None:
    movies = 'movieId,title,genres\n1,"Toy Story (1995)",Comedy\n2,"Misérables (1995)",Drama\n'
    folder = _folder(tmp_path / "ml", CSV | {"movies.csv": movies}, "latin-1")
    with pytest.raises(SourceError, match=r"movies\.csv: line 3 is not utf-8") as caught:
        read(configured(_source(folder)))
    assert "encoding: latin-1" in caught.value.hint
    tables, _ = read(configured(_source(folder, encoding="latin-1")))
    assert tables.items["title"].to_pylist()[1] == "Misérables (1995)"


@pytest.mark.needs_data
def test_latest_small_has_its_published_counts(
    shared_data: Path, configured: Callable[..., Config]
) -> None:
    tables, report = read(configured(_source(shared_data / "ml-latest-small")))
    assert report.rows_kept == {"events": 100_836, "items": 9_742, "users": 610}
    assert report.dropped == []
    assert report.unreadable == []
    assert tables.events["time"].null_count == 0
    assert tables.items["title"].null_count == 0
    likes = sum(event == "like" for event in tables.events["event"].to_pylist())
    assert likes == 48_580


@pytest.mark.needs_data
def test_the_real_films_and_users_of_1m_are_read(
    shared_data: Path, tmp_path: Path, configured: Callable[..., Config]
) -> None:
    """The ratings of 1M aren't at hand; its films and users are, in their true encoding."""
    folder = _folder(tmp_path / "ml-1m", {"ratings.dat": DAT["ratings.dat"]}, "latin-1")
    for name in ("movies.dat", "users.dat"):
        (folder / name).write_bytes((shared_data / "ml-1m" / name).read_bytes())
    tables, _ = read(configured(_source(folder)))
    assert tables.items.num_rows == 3_883
    assert tables.users.num_rows == 6_040
    assert tables.items["title"].null_count == 0
    assert all(len(user["attributes"]) == 4 for user in tables.users.to_pylist())
