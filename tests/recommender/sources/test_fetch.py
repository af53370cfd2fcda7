"""Locations become local files: paths, zips, HTTPS and S3, whole or not at all."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from pathlib import Path

import boto3
import pytest

from recommender.errors import SourceError, StorageError
from recommender.sources import download
from recommender.sources.fetch import fetch


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_path_is_taken_as_it_lies(tmp_path: Path) -> None:
    (tmp_path / "in/.hidden").mkdir(parents=True)
    (tmp_path / "in/a.csv").write_text("a")
    (tmp_path / "in/.hidden/b.csv").write_text("b")
    for location in (str(tmp_path / "in"), f"file://{tmp_path}/in"):
        fetched = fetch(location, tmp_path / "cache")
        assert [fetched.name(path) for path in fetched.files] == ["a.csv"]
    assert not (tmp_path / "cache").exists()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere does not exist \(looked for /"):
        fetch("nowhere", tmp_path)
    with pytest.raises(SourceError, match="ftp://host/x is not a place"):
        fetch("ftp://host/x", tmp_path)
    (tmp_path / "a.csv").write_text("a")
    with pytest.raises(SourceError, match=r"has no file '\*\.parquet'; it has a\.csv"):
        fetch(str(tmp_path), tmp_path).matching("*.parquet")


def test_a_file_must_have_the_checksum_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"abc")
    assert fetch(str(tmp_path / "a.csv"), tmp_path, _sha(b"abc")).files
    with pytest.raises(SourceError, match="SHA-256"):
        fetch(str(tmp_path / "a.csv"), tmp_path, _sha(b"other"))


def test_a_zip_is_unpacked_once(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"ml/ratings.csv": b"r", "ml/movies.csv": b"m"})
    first = fetch(str(archive), tmp_path / "cache")
    assert [first.name(path) for path in first.files] == ["ml/movies.csv", "ml/ratings.csv"]
    before = first.files[0].stat().st_mtime_ns
    second = fetch(str(archive), tmp_path / "cache")
    assert second.files == first.files
    assert second.files[0].stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:/evil", "..\\evil"])
def test_a_zip_member_never_lands_outside(tmp_path: Path, name: str) -> None:
    archive = _zip(tmp_path / "in.zip", {"good.csv": b"g", name: b"bad"})
    with pytest.raises(SourceError, match="outside"):
        fetch(str(archive), tmp_path / "deep/cache")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["in.zip"]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        link = zipfile.ZipInfo("passwords")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SourceError, match="outside"):
        fetch(str(tmp_path / "in.zip"), tmp_path / "cache")


def test_a_truncated_zip_leaves_nothing(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "in.zip", {"a.csv": bytes(range(256)) * 500})
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="not a readable zip"):
        fetch(str(archive), tmp_path / "cache")
    # Damaged inside: the list of members is fine, a member's bytes aren't.
    archive.write_bytes(data[:40] + bytes(20) + data[60:])
    with pytest.raises(SourceError, match="not a readable zip"):
        fetch(str(archive), tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_download_is_checked_and_kept(tmp_path: Path, https) -> None:
    _zip(https.folder / "ml.zip", {"ml/ratings.csv": b"r"})
    url = f"{https.url}/ml.zip"
    expected = _sha((https.folder / "ml.zip").read_bytes())
    for checksum in (expected, expected, None):
        fetched = fetch(url, tmp_path / "cache", checksum)
        assert [path.read_bytes() for path in fetched.files] == [b"r"]
    assert https.asked == ["/ml.zip"]


def test_a_download_with_another_checksum_is_not_kept(tmp_path: Path, https) -> None:
    (https.folder / "a.csv").write_bytes(b"abc")
    with pytest.raises(SourceError, match="does not have the SHA-256"):
        fetch(f"{https.url}/a.csv", tmp_path / "cache", _sha(b"other"))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_download_that_breaks_off_is_tried_again_and_not_kept(
    tmp_path: Path, https, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_TRIES", 2)
    (https.folder / "half-a.csv").write_bytes(b"a,b\n" * 10_000)
    with pytest.raises(SourceError, match="could not be fetched in 2 tries"):
        fetch(f"{https.url}/half-a.csv", tmp_path / "cache")
    assert https.asked == ["/half-a.csv"] * 2
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_missing_download_is_said_at_once_without_its_token(tmp_path: Path, https) -> None:
    with pytest.raises(SourceError, match="404") as caught:
        fetch(f"{https.url.replace('//', '//me:password@')}/none.zip?token=secret", tmp_path)
    assert len(https.asked) == 1
    assert "secret" not in str(caught.value)
    assert "password" not in str(caught.value)


def test_an_untrusted_certificate_is_said(
    tmp_path: Path, https, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(SourceError, match="certificate is not trusted"):
        fetch(f"{https.url}/a.csv", tmp_path)


def test_plain_http_is_refused_even_behind_a_redirect(tmp_path: Path, https) -> None:
    with pytest.raises(SourceError, match="https only"):
        fetch("http://localhost/a.csv", tmp_path)
    (https.folder / "a.csv").write_bytes(b"from plain http")
    with pytest.raises(SourceError, match="plain http"):
        fetch(f"{https.url}/plain-a.csv", tmp_path / "cache")
    assert https.asked == ["/plain-a.csv", "/a.csv"]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_s3_is_copied_once_and_again_when_it_changes(tmp_path: Path, s3_bucket: str) -> None:
    client = boto3.client("s3")
    for key, body in {"raw/a.csv": b"a", "raw/deep/b.csv": b"b", "rawer/c.csv": b"c"}.items():
        client.put_object(Bucket=s3_bucket, Key=key, Body=body)
    location = f"s3://{s3_bucket}/raw"
    first = fetch(location, tmp_path / "cache")
    assert [first.name(path) for path in first.files] == ["a.csv", "deep/b.csv"]
    copied = first.files[0].stat().st_ino
    assert fetch(f"{location}/", tmp_path / "cache").files[0].read_bytes() == b"a"
    assert fetch(location, tmp_path / "cache").files[0].stat().st_ino == copied
    client.put_object(Bucket=s3_bucket, Key="raw/a.csv", Body=b"new")
    client.delete_object(Bucket=s3_bucket, Key="raw/deep/b.csv")
    (again,) = fetch(location, tmp_path / "cache").files
    assert again.read_bytes() == b"new"


def test_one_s3_object_is_fetched_and_unpacked(tmp_path: Path, s3_bucket: str) -> None:
    archive = _zip(tmp_path / "ml.zip", {"ml/ratings.csv": b"r"})
    boto3.client("s3").upload_file(str(archive), s3_bucket, "data/ml.zip")
    (path,) = fetch(f"s3://{s3_bucket}/data/ml.zip", tmp_path / "cache").files
    assert path.read_bytes() == b"r"


def test_an_empty_prefix_and_a_missing_bucket_are_named(tmp_path: Path, s3_bucket: str) -> None:
    with pytest.raises(SourceError, match=f"nothing lies at s3://{s3_bucket}/none"):
        fetch(f"s3://{s3_bucket}/none", tmp_path)
    with pytest.raises(StorageError, match="bucket"):
        fetch("s3://no-such-bucket-here/x", tmp_path)


def test_an_archived_s3_object_is_named_and_nothing_is_kept(tmp_path: Path, s3_bucket: str) -> None:
    client = boto3.client("s3")
    client.put_object(Bucket=s3_bucket, Key="raw/a.csv", Body=b"a")
    client.put_object(Bucket=s3_bucket, Key="raw/old.csv", Body=b"b", StorageClass="GLACIER")
    with pytest.raises(StorageError, match=rf"s3://{s3_bucket}/raw/old\.csv.*archived"):
        fetch(f"s3://{s3_bucket}/raw", tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
