"""The production profile for real: Redis, a registry on PostgreSQL, snapshots on S3, HTTPS."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
import trustme
from snapshots_by_hand import write_offline

from feature_repo.choices import Choices
from feature_repo.environment import environment
from feature_repo.locations import project_name
from feature_repo.offline import read_snapshot
from feature_repo.profile import read_profile
from feature_repo.sdk import apply, materialize, open_store
from recommender.errors import FeatureError, StorageError

pytestmark = [pytest.mark.needs_redis, pytest.mark.needs_postgres]

ROOT = Path(__file__).parents[2]
NOW = 1_700_000_000_457
READ, WRITE = "r" * 32, "w" * 32
EVENTS = [
    ("u1", "a", "click", NOW - 2_000),
    ("u1", "b", "purchase", NOW - 1_000, 2.5),
    ("ü 2", "b", "click", NOW - 10),
    ("late", "a", "click", NOW),
]


@pytest.fixture(scope="module")
def s3_prefix(s3_environment) -> str:
    import boto3

    boto3.client("s3").create_bucket(Bucket="feature-snapshots")
    return "s3://feature-snapshots/prod"


@pytest.fixture
def database(postgres):
    return postgres.database()


@pytest.fixture(scope="module")
def written(make_config, s3_prefix) -> str:
    """Snapshots of the project on S3."""
    from feature_repo.profile import Profile

    write_offline(make_config(), Profile("production", offline=s3_prefix), EVENTS, NOW)
    return s3_prefix


@pytest.fixture
def profile(postgres, database, redis_server, s3_prefix, monkeypatch):
    """The production profile in the environment, with an empty registry."""
    monkeypatch.setenv("OSTINATO_PROFILE", "production")
    monkeypatch.setenv("OSTINATO_REDIS", redis_server.connection)
    monkeypatch.setenv("OSTINATO_REGISTRY", postgres.url(database))
    monkeypatch.setenv("OSTINATO_OFFLINE", s3_prefix)
    return read_profile()


@pytest.fixture(scope="module")
def applied(make_config, postgres, redis_process, s3_prefix) -> str:
    """A database with an applied registry, to be copied."""
    from feature_repo.profile import Profile

    name, paths = postgres.database(), make_config().paths
    made = Profile("production", redis_process.connection, postgres.url(name), s3_prefix)
    store = open_store(paths, "by_hand", made)
    apply(store, paths, Choices(), made)
    store.registry.write_engine.dispose()
    return name


def program(config, *words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("feast")), "-c", "feature_repo", *words]


def variables(config) -> dict[str, str]:
    # Without Feast's checks of types at run time it starts three times as fast.
    return {**os.environ, **environment(config, "live"), "PYTHONOPTIMIZE": "1"}


def feast(config, *words: str) -> str:
    ran = subprocess.run(
        program(config, *words),
        cwd=ROOT,
        env=variables(config),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def asked(store, user: str) -> dict:
    found = store.get_online_features(
        features=store.get_feature_service("unified_v1"), entity_rows=[{"user_id": user}]
    )
    return {name: values[0] for name, values in found.to_dict().items()}


def published(config, profile):
    """The project, applied and materialized by the SDK."""
    store = open_store(config.paths, project_name(config, "live"), profile)
    apply(store, config.paths, Choices.of(config), profile)
    materialize(store, config.paths, NOW, profile=profile)
    return store


@pytest.mark.slow
def test_the_program_applies_and_materializes(config, profile, written):
    feast(config, "apply")
    feast(config, "materialize-incremental", "2030-01-01T00:00:00")
    store = open_store(config.paths, project_name(config, "live"), profile, read_only=True)
    assert asked(store, "u1")["item_ids"] == ["a", "b"]
    assert asked(store, "u1")["times"] == [NOW - 2_000, NOW - 1_000]
    assert asked(store, "late")["item_ids"] is None
    assert not list(config.paths.features.rglob("*.db")), "nothing of it lies in the workspace"
    assert "unified_v1_context" in feast(config, "feature-services", "list")


@pytest.mark.slow
def test_the_server_answers_like_the_sdk_over_https_with_a_token(
    config, profile, written, postgres, database, tmp_path
):
    store = published(config, profile)
    wanted = {user: asked(store, user) for user in ("u1", "ü 2", "late")}
    assert wanted["u1"]["item_ids"] == ["a", "b"]
    assert wanted["late"]["item_ids"] is None
    # The server's account may read the registry, and nothing else.
    postgres.run(
        "CREATE ROLE reader LOGIN PASSWORD 'reads'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        database=database,
    )
    authority = trustme.CA()
    given = {"OSTINATO_REGISTRY": postgres.url(database, "reader", "reads")}
    with served(config, authority, tmp_path, given) as client:
        question = {"feature_service": "unified_v1", "entities": {"user_id": list(wanted)}}
        assert client.get("/health").status_code == 200
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {READ}"}):
            answer = client.post("/get-online-features", json=question, headers=header)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        reads = {"Authorization": f"Bearer {READ}"}
        answer = client.post("/get-online-features", json=question, headers=reads)
        assert answer.status_code == 200, answer.text
        names = answer.json()["metadata"]["feature_names"]
        values = [each["values"] for each in answer.json()["results"]]
        for row, user in enumerate(wanted):
            told = {name: column[row] for name, column in zip(names, values, strict=True)}
            assert like(told, wanted[user])
        # A token for reading pushes nothing, and not even one for writing writes definitions.
        assert client.post("/push", json={}, headers=reads).status_code == 403
        assert client.get("/docs", headers=reads).status_code == 403
        writes = {"Authorization": f"Bearer {WRITE}"}
        assert client.post("/get-online-features", json=question, headers=writes).is_success
        assert client.get("/docs", headers=writes).is_success
        event = {"user_id": "late", "event_id": "p1", "item_id": "b", "event": "click"}
        event |= {"time": "2023-11-14T22:13:21+00:00", "value": 1.0, "position": 0}
        event |= {"surface": "home", "propensity": 0.5}
        frame = {name: [value] for name, value in event.items()}
        pushed = {"push_source_name": "user_events", "df": frame, "to": "online"}
        assert client.post("/push", json=pushed, headers=reads).status_code == 403
        answer = client.post("/push", json=pushed, headers=writes)
        assert answer.status_code == 200, answer.text
        assert asked(store, "late")["item_ids"] == ["b"]
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(str(client.base_url.join("/health")))
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://{client.base_url.host}:{client.base_url.port}/health")


@contextmanager
def served(config, authority, folder: Path, given: dict[str, str]) -> Iterator[httpx.Client]:
    """`feature_repo.serve` in a process of its own, and a client that trusts its certificate."""
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "feature_repo.serve", "--port", str(port)]
    words += ["--key", str(folder / "key.pem"), "--cert", str(folder / "cert.pem")]
    tokens = {"OSTINATO_FEATURES_TOKEN": READ, "OSTINATO_FEATURES_WRITE_TOKEN": WRITE}
    log = folder / "serve.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            words, cwd=ROOT, env={**variables(config), **tokens, **given}, stdout=said, stderr=said
        )
    try:
        import ssl

        trusted = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=trusted) as client:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, log.read_text()
                try:
                    client.get("/health")
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.1)
            yield client
        assert READ not in log.read_text()
    finally:
        process.terminate()
        process.wait(20)


def like(told: dict, wanted: dict) -> bool:
    """Equal as JSON tells it: NaN travels as null or as a text."""
    return plain(told) == plain(wanted)


def plain(row: dict) -> dict:
    def number(value):
        missing = value is None or value == "NaN" or value != value
        return None if missing else value

    return {
        name: [number(each) for each in value] if isinstance(value, list) else number(value)
        for name, value in row.items()
    }


def test_the_sdk_publishes_takes_out_what_is_gone_and_reads_history_on_s3(config, profile, written):
    store = published(config, profile)
    assert asked(store, "u1")["actions"] == ["click", "purchase"]

    import pandas as pd

    people = pd.DataFrame(
        {
            "user_id": ["u1", "late"],
            "event_timestamp": pd.to_datetime([NOW + 5_000] * 2, unit="ms", utc=True),
        }
    )
    found = store.get_historical_features(
        people, ["user_sequence:item_ids", "user_activity:events_total"]
    ).to_df()
    rows = found.set_index("user_id")
    assert list(rows.loc["u1", "item_ids"]) == ["a", "b"]
    assert rows.loc["u1", "events_total"] == 2
    assert rows["events_total"].isna().to_dict() == {"u1": False, "late": True}

    # A second time with fewer definitions: what isn't defined any more is taken out.
    apply(store, config.paths, Choices(behaviour=True), profile)
    assert "user_behaviour" in {view.name for view in store.list_feature_views()}
    apply(store, config.paths, Choices(), profile)
    assert "user_behaviour" not in {view.name for view in store.list_feature_views()}


def test_only_the_owner_of_the_registry_can_apply(config, profile, postgres, database, monkeypatch):
    project = project_name(config, "live")
    store = open_store(config.paths, project, profile)
    apply(store, config.paths, Choices(), profile)
    postgres.run(
        "CREATE ROLE looker LOGIN PASSWORD 'reads'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker",
        database=database,
    )
    monkeypatch.setenv("OSTINATO_REGISTRY", postgres.url(database, "looker", "reads"))
    reader = read_profile()
    looked = open_store(config.paths, project, reader, read_only=True)
    assert {each.name for each in looked.list_feature_services()} >= {"unified_v1"}
    with pytest.raises(FeatureError, match="permission denied") as denied:
        apply(looked, config.paths, Choices(behaviour=True), reader)
    assert "only `apply` writes the registry" in denied.value.hint
    assert "reads" not in str(denied.value)


def test_whoever_materializes_needs_to_update_the_record_of_it_only(
    config, profile, written, postgres, database, monkeypatch
):
    project = project_name(config, "live")
    apply(open_store(config.paths, project, profile), config.paths, Choices(), profile)
    postgres.run(
        "CREATE ROLE materializer LOGIN PASSWORD 'writes'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO materializer",
        "GRANT UPDATE ON feature_views, feast_metadata, projects TO materializer",
        database=database,
    )
    monkeypatch.setenv("OSTINATO_REGISTRY", postgres.url(database, "materializer", "writes"))
    mine = read_profile()
    store = open_store(config.paths, project, mine, read_only=True)
    materialize(store, config.paths, NOW, profile=mine)
    assert asked(store, "u1")["item_ids"] == ["a", "b"]
    (_, until) = store.get_feature_view("user_sequence").materialization_intervals[-1]
    assert until.timestamp() == pytest.approx(NOW / 1000, abs=1)
    with pytest.raises(FeatureError, match="permission denied"):
        apply(store, config.paths, Choices(behaviour=True), mine)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (["DELETE FROM feature_views"], "has no views of the project 'by_hand'"),
        (["DELETE FROM projects"], "has no project 'by_hand'"),
        (["DROP TABLE entities CASCADE"], "holds no definitions"),
        (
            ["UPDATE feature_views SET feature_view_proto = '\\xffffff'"],
            "is damaged: the view .* can't be read",
        ),
        (
            ["UPDATE feature_views SET feature_view_name = 'x' || feature_view_name"],
            "is damaged: the view .* calls itself",
        ),
    ],
)
def test_a_registry_that_is_not_whole_is_said(
    config, profile, postgres, applied, damage, said, monkeypatch
):
    database = postgres.database(applied)
    monkeypatch.setenv("OSTINATO_REGISTRY", postgres.url(database))
    open_store(config.paths, "by_hand", read_profile(), read_only=True)
    postgres.run(*damage, database=database)
    with pytest.raises(FeatureError, match=said) as told:
        open_store(config.paths, "by_hand", read_profile(), read_only=True)
    assert f"the registry {database} on 127.0.0.1:{postgres.port}" in str(told.value)
    assert postgres.password not in str(told.value)


def test_a_registry_that_cannot_be_reached_is_said_without_its_password(
    config, profile, postgres, monkeypatch
):
    for url, said in (
        (postgres.url("nowhere"), 'database "nowhere" does not exist'),
        (postgres.url(password="wrong-secret"), "password authentication failed"),
        ("postgresql://someone:top-secret@127.0.0.1:1/x", "onnection .*refused"),
    ):
        monkeypatch.setenv("OSTINATO_REGISTRY", url)
        with pytest.raises(FeatureError, match=said) as told:
            open_store(config.paths, "by_hand", read_profile())
        assert "secret" not in str(told.value)


def test_a_snapshot_that_cannot_be_stored_leaves_the_last_one(
    config, profile, written, monkeypatch
):
    location = profile.offline_location(config.paths.features, "by_hand")
    before = read_snapshot(location, "user_sequence")
    assert before.num_rows == 2
    monkeypatch.setenv("OSTINATO_OFFLINE", "s3://no-such-bucket/x")
    with pytest.raises(StorageError, match="no-such-bucket"):
        write_offline(config, read_profile(), EVENTS, NOW)
    after = read_snapshot(location, "user_sequence")
    assert repr(after.to_pylist()) == repr(before.to_pylist())


def test_snapshots_in_a_shared_folder_are_those_on_s3(
    config, profile, written, tmp_path, monkeypatch
):
    remote = profile.offline_location(config.paths.features, "by_hand")
    monkeypatch.setenv("OSTINATO_OFFLINE", str(tmp_path / "shared"))
    shared = read_profile()
    views = write_offline(config, shared, EVENTS, NOW)
    assert remote == "s3://feature-snapshots/prod/by_hand"
    for view in views:
        theirs = read_snapshot(remote, view).drop("created").to_pylist()
        ours = pq.read_table(tmp_path / "shared" / "by_hand" / f"{view}.parquet").drop("created")
        # repr: NaN is not equal to itself.
        assert repr(ours.to_pylist()) == repr(theirs)
