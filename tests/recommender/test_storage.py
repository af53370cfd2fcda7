"""Both stores keep the same promises; S3 is a real server on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest

from recommender.errors import StorageError
from recommender.storage import StorageConflictError, Store, local_path, open_store
from recommender.storage.s3 import S3Store


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "file":
        return open_store(tmp_path / "store")
    bucket = request.getfixturevalue("s3_bucket")
    return open_store(f"s3://{bucket}/some/prefix")


def test_what_is_written_is_read_back(store: Store) -> None:
    etag = store.write_bytes("a/b.json", b"{}")
    assert store.read("a/b.json").data == b"{}"
    assert store.read("a/b.json").etag == etag
    assert store.exists("a/b.json")
    assert not store.exists("a")
    assert not store.exists("a/c.json")
    store.delete("a/b.json")
    store.delete("a/b.json")
    assert not store.exists("a/b.json")


def test_a_missing_object_is_named(store: Store) -> None:
    with pytest.raises(StorageError, match=r"none\.json.*does not exist"):
        store.read("none.json")
    with pytest.raises(StorageError, match=r"nothing lies at .*nowhere"):
        store.download("nowhere", Path("unused"))


def test_put_if_absent_is_won_once(store: Store) -> None:
    store.write_bytes("lock", b"mine", if_absent=True)
    with pytest.raises(StorageConflictError, match="is there already"):
        store.write_bytes("lock", b"theirs", if_absent=True)
    assert store.read_bytes("lock") == b"mine"


def test_compare_and_swap_refuses_a_stale_etag(store: Store) -> None:
    first = store.write_bytes("alias", b"1")
    second = store.write_bytes("alias", b"2", if_match=first)
    assert second != first
    with pytest.raises(StorageConflictError):
        store.write_bytes("alias", b"3", if_match=first)
    with pytest.raises(StorageConflictError):
        store.write_bytes("never-written", b"3", if_match=first)
    assert store.read_bytes("alias") == b"2"
    assert not store.exists("never-written")


def test_of_many_racing_writers_one_wins_each_round(store: Store) -> None:
    def claim(number: int) -> bool:
        try:
            store.write_bytes("race", str(number).encode(), if_absent=True)
        except StorageConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(8)))
    # moto checks and stores in two steps; a file store must be exact.
    if not isinstance(store, S3Store):
        assert sum(won) == 1
    assert won[int(store.read_bytes("race"))]


def test_list_shows_the_folder_and_not_its_namesakes(store: Store) -> None:
    for key in ("m/1/a", "m/1/b", "m/10/a", "m1", "top"):
        store.write_bytes(key, key.encode())
    assert [entry.key for entry in store.list("m/1")] == ["m/1/a", "m/1/b"]
    assert [entry.key for entry in store.list()] == ["m/1/a", "m/1/b", "m/10/a", "m1", "top"]
    assert store.list("none") == ()
    assert store.list("top") == ()


def test_the_mark_of_an_object_tells_a_changed_one(store: Store) -> None:
    store.write_bytes("a", b"1")
    before = store.stat("a")
    assert before == store.list()[0]
    store.write_bytes("a", b"22")
    after = store.stat("a")
    assert after
    assert before
    assert (after.mark != before.mark, after.size) == (True, 2)


def test_a_folder_survives_the_way_there_and_back(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"a" * 10)
    (folder / "deep/er/b.bin").write_bytes(bytes(range(256)))
    entries = store.upload(folder, "v1")
    assert [(entry.key, entry.size) for entry in entries] == [
        ("v1/a.txt", 10),
        ("v1/deep/er/b.bin", 256),
    ]
    out = store.download("v1", tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in out] == [
        "a.txt",
        "deep/er/b.bin",
    ]
    assert (tmp_path / "out/deep/er/b.bin").read_bytes() == bytes(range(256))
    (single,) = store.download("v1/a.txt", tmp_path / "one")
    assert single == tmp_path / "one/a.txt"
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="nothing to store"):
        store.upload(tmp_path / "empty", "v2")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../../b", "a//b", ".hidden", "a/."])
def test_a_key_can_not_leave_the_store(store: Store, key: str) -> None:
    with pytest.raises(StorageError, match="can't name an object"):
        store.write_bytes(key, b"x")
    with pytest.raises(StorageError, match="can't name an object"):
        store.read(key)


def test_locations_we_do_not_speak_are_refused(tmp_path: Path) -> None:
    assert local_path("file:///a%20b/c") == Path("/a b/c")
    assert local_path("data/x") == Path("data/x")
    for location in ("gs://bucket/x", "file://host/x"):
        with pytest.raises(StorageError, match="is not a place"):
            open_store(location)
    with pytest.raises(StorageError, match="names no bucket"):
        open_store("s3:///x")


def test_large_files_travel_in_parts_and_are_checked(s3_bucket: str, tmp_path: Path) -> None:
    part = 5 << 20
    store = S3Store(f"s3://{s3_bucket}/big", multipart_bytes=part)
    source = tmp_path / "weights.bin"
    source.write_bytes(os.urandom(2 * part + 123))
    (entry,) = store.upload(source, "v1")
    assert entry.mark.strip('"').endswith("-3")  # S3's mark of an object made of three parts
    (copy,) = store.download("v1", tmp_path / "copy")
    assert copy.read_bytes() == source.read_bytes()


def test_a_damaged_object_is_not_taken(s3_bucket: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_bucket}")
    (tmp_path / "a").write_bytes(b"good")
    store.upload(tmp_path / "a", "")
    client = boto3.client("s3")
    metadata = client.head_object(Bucket=s3_bucket, Key="a")["Metadata"]
    client.put_object(Bucket=s3_bucket, Key="a", Body=b"evil", Metadata=metadata)
    with pytest.raises(StorageError, match="checksum"):
        store.download("a", tmp_path / "out")
    assert not (tmp_path / "out/a").exists()


def test_a_missing_bucket_is_named(s3_bucket: str) -> None:
    store = open_store("s3://no-such-bucket-here/x")
    with pytest.raises(StorageError, match="bucket"):
        store.list()
    with pytest.raises(StorageError, match="bucket"):
        store.read("a")
    with pytest.raises(StorageError, match="no-such-bucket-here"):
        store.exists("a")


def test_without_credentials_the_variables_are_named(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError) as caught:
        open_store(f"s3://{s3_bucket}").read("a")
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


_ERROR = "<Error><Code>{code}</Code><Message>no</Message></Error>"


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """A server that answers every S3 request with one error."""
    answer: dict[str, object] = {"status": 403, "code": "AccessDenied", "asked": 0}

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            answer["asked"] += 1
            body = _ERROR.format(code=answer["code"]).encode()
            self.send_response(answer["status"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    for method in ("GET", "HEAD", "PUT"):
        setattr(Handler, f"do_{method}", Handler.answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "wrong")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
    yield answer
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AccessDenied", "forbidden"),
        ("InvalidAccessKeyId", "access key is unknown"),
        ("SignatureDoesNotMatch", "secret key is wrong"),
        ("ExpiredToken", "expired"),
    ],
)
def test_wrong_credentials_are_told_apart(
    refusing: dict[str, object], code: str, said: str, tmp_path: Path
) -> None:
    refusing["code"] = code
    store = open_store("s3://bucket/data")
    with pytest.raises(StorageError, match=said) as caught:
        store.read("ratings.csv")
    assert "s3://bucket/data/ratings.csv" in caught.value.message
    assert "wrong" not in caught.value.hint.replace("is wrong", "")  # no secret in a message
    with pytest.raises(StorageError, match="forbidden"):
        store.stat("ratings.csv")  # a HEAD carries no code, only the status
    with pytest.raises(StorageError, match=said):
        store.write_bytes("x", b"x")
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(StorageError, match=said):
        store.upload(tmp_path / "x", "y")


def test_an_archived_object_says_so(refusing: dict[str, object]) -> None:
    refusing["code"] = "InvalidObjectState"
    with pytest.raises(StorageError, match="archived"):
        open_store("s3://bucket").read("old")


def test_a_server_in_trouble_is_asked_again_a_bounded_number_of_times(
    refusing: dict[str, object],
) -> None:
    refusing.update(status=503, code="SlowDown")
    with pytest.raises(StorageError, match="SlowDown") as caught:
        open_store("s3://bucket").read("x")
    assert refusing["asked"] == 4
    assert "try again" in caught.value.hint


def test_a_dead_endpoint_is_given_up_within_seconds(
    monkeypatch: pytest.MonkeyPatch, s3_bucket: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    started = time.monotonic()
    with pytest.raises(StorageError, match="can't be reached") as caught:
        open_store(f"s3://{s3_bucket}").read("a")
    assert time.monotonic() - started < 15
    assert "AWS_ENDPOINT_URL" in caught.value.hint


_FILL = """
import resource, signal, sys
from pathlib import Path
from recommender.errors import StorageError
from recommender.storage import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_store(sys.argv[1])
store.write_bytes("kept", b"before")
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    store.write_bytes("kept", b"x" * 100_000)
except StorageError as error:
    print(error)
try:
    store.upload(Path(sys.argv[2]), "copied")
except StorageError as error:
    print(error)
"""


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path: Path) -> None:
    """The kernel's limit on file size stands in for the end of the disk (EFBIG, not ENOSPC)."""
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_FILL), tmp_path / "store", tmp_path / "large"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.count("cannot write") == 2
    assert str(tmp_path / "store/kept") in result.stdout
    assert "ulimit" in result.stdout
    assert open_store(tmp_path / "store").read_bytes("kept") == b"before"
    left = [path.name for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert sorted(left) == [".store.lock", "kept"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_no_space_left_names_the_file_and_the_way_out(tmp_path: Path) -> None:
    from recommender.files import atomic_file

    target = tmp_path / "events.parquet"
    with (
        pytest.raises(StorageError, match=r"events\.parquet: No space left") as caught,
        atomic_file(target),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert "free some space" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
