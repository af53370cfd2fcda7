"""Events from Kafka arrive at least once and count once (librdkafka's own mock cluster)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from streamed_shop import KINDS, given, open_store
from tables_by_hand import ACTIONS

from feature_repo.stream.apply import EventSink
from feature_repo.stream.dead_letters import DeadLetterFile
from feature_repo.stream.kafka import main
from feature_repo.stream.kafka_consumer import KafkaEvents
from feature_repo.stream.kafka_dead_letters import DeadLetterTopic
from feature_repo.stream.kafka_settings import connection, consumer_settings, producer_settings
from feature_repo.stream.landing import Landing
from feature_repo.stream.metrics import StreamMetrics
from feature_repo.stream.working import Worker
from recommender.config.stream import StreamConfig
from recommender.errors import ConfigError, FeatureError, StorageError

STREAM = StreamConfig(retry_s=20.0, compact_files=1_000)
ROOT = Path(__file__).parents[3]


class Broker:
    """A mock cluster of librdkafka, which other clients and programs can reach."""

    def __init__(self) -> None:
        self.producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1})
        (broker,) = self.producer.list_topics(timeout=10).brokers.values()
        self.address = f"{broker.host}:{broker.port}"
        # The mock cluster ends a rebalance after a session's time, not when everybody is back.
        self.connected = {"bootstrap.servers": self.address, "session.timeout.ms": 6_000}

    def send(self, topic: str, *values: bytes | dict) -> None:
        for value in values:
            raw = value if isinstance(value, bytes) else json.dumps(value).encode()
            key = value.get("user_id") if isinstance(value, dict) else None
            self.producer.produce(topic, value=raw, key=str(key))
        assert self.producer.flush(10) == 0

    def left(self, topic: str, group: str) -> int:
        """Messages that the group has not committed."""
        looking = Consumer({**self.connected, "group.id": group})
        parts = looking.list_topics(topic, timeout=5).topics[topic].partitions
        committed = looking.committed([TopicPartition(topic, part) for part in parts], timeout=10)
        left = 0
        for each in committed:
            _, high = looking.get_watermark_offsets(TopicPartition(topic, each.partition))
            left += high - max(each.offset, 0)
        looking.close()
        return left


@pytest.fixture(scope="module")
def broker():
    return Broker()


@pytest.fixture
def place(tmp_path) -> str:
    """SQLite for all of these but one: what they test is the same for every store."""
    return str(tmp_path / "online.db")


@pytest.fixture
def topic() -> str:
    return f"events-{uuid.uuid4().hex[:8]}"


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Running:
    """One consumer in a thread."""

    def __init__(self, broker, topic, sink, dead_letters, stream=STREAM) -> None:
        self.metrics = StreamMetrics("kafka")
        worker = Worker(sink, self.metrics, stream.compact_files)
        settings = consumer_settings(broker.connected, topic)
        self.events = KafkaEvents(settings, topic, worker, dead_letters, stream)
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.events.run()
        except Exception as error:  # noqa: BLE001 - told by `ended`
            self.error = error

    def ended(self) -> Exception | None:
        self.events.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.error

    def join(self) -> Exception | None:
        self._thread.join(60)
        return self.error

    def count(self, outcome: str) -> float:
        labels = {"source": "kafka", "outcome": outcome}
        return self.metrics.registry.get_sample_value("ostinato_stream_events_total", labels) or 0


def ids(store, user="u1"):
    (row,) = store.rows("user_sequence", "user_id", [user])
    return [] if row is None else row["event_ids"]


def test_events_reach_the_sequences_and_wrong_ones_the_dead_letters(
    broker, topic, place, store, landing, rules, tmp_path
):
    cloud = {"specversion": "1.0", "id": "c", "source": "/shop", "type": "shop.event"}
    broker.send(topic, given("e1"), given("e1"), {**cloud, "data": given("e2")})
    broker.send(topic, b"\xff no json", b"", given("e3", user_id=None), given("e4", event="hover"))
    broker.send(topic, b"[" * 100_000, {**cloud, "data": 7})
    letters = DeadLetterFile(tmp_path / "rejected.jsonl")
    running = Running(broker, topic, EventSink(open_store(place), landing, rules), letters)
    until(lambda: broker.left(topic, topic) == 0)
    assert running.ended() is None
    assert ids(store) == ["e1", "e2"]
    assert landing.read().events["event_id"].to_pylist() == ["e1", "e2"]
    told = [json.loads(line) for line in letters.path.read_text().splitlines()]
    assert len(told) == running.count("rejected") == 6
    reasons = " ".join(each["reason"] for each in told)
    for part in ("not JSON", "an empty message", "user_id is None: missing", "'hover': an unknown"):
        assert part in reasons
    assert {each["topic"] for each in told} == {topic}
    assert any("value_base64" in each for each in told)
    assert letters.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow  # the mock cluster takes its time to rebalance
def test_members_share_the_partitions_and_one_that_leaves_loses_nothing(
    broker, topic, place, store, landing, rules, tmp_path
):
    letters = DeadLetterFile(tmp_path / "rejected.jsonl")
    broker.send(topic, *(given(f"a{n:03}", user_id=f"u{n % 5}") for n in range(50)))
    one = Running(broker, topic, EventSink(open_store(place), landing, rules), letters)
    until(lambda: one.count("kept") > 0)
    two = Running(broker, topic, EventSink(open_store(place), landing, rules), letters)
    for n in range(50):
        broker.send(topic, given(f"b{n:03}", user_id=f"u{n % 5}"))
    until(lambda: two.count("kept") > 0 or broker.left(topic, topic) == 0)
    assert one.ended() is None
    broker.send(topic, *(given(f"c{n:03}", user_id=f"u{n % 5}") for n in range(50)))
    until(lambda: broker.left(topic, topic) == 0)
    assert two.ended() is None
    assert landing.read().events.num_rows == 150
    for n in range(5):
        assert ids(store, f"u{n}") == [f"c{at:03}" for at in range(25 + n, 50, 5)]


@pytest.mark.needs_redis
def test_nothing_is_acknowledged_while_redis_is_away(
    broker, topic, redis_server, landing, rules, tmp_path
):
    store = open_store(redis_server.connection)
    store.declare("user_sequence", "user_id", KINDS)
    broker.send(topic, given("e1"))
    redis_server.stop()
    letters = DeadLetterFile(tmp_path / "rejected.jsonl")
    sink = EventSink(open_store(redis_server.connection), landing, rules)
    running = Running(broker, topic, sink, letters)
    failures = "ostinato_stream_store_failures_total"
    labels = {"source": "kafka"}
    until(lambda: running.metrics.registry.get_sample_value(failures, labels) >= 2)
    broker.send(topic, given("e2"))
    assert landing.read().events["event_id"].to_pylist() == ["e1"]
    assert landing.files() == 1  # trying again lands nothing a second time
    assert broker.left(topic, topic) == 2
    redis_server.start()
    store.declare("user_sequence", "user_id", KINDS)
    until(lambda: broker.left(topic, topic) == 0)
    assert running.ended() is None
    assert ids(store) == ["e1", "e2"]


@pytest.mark.slow
def test_a_consumer_gives_up_in_the_end_and_the_next_one_goes_on(
    broker, topic, store, place, rules, tmp_path
):
    blocked = tmp_path / "offline"
    blocked.write_text("a file where the folder should be")
    broker.send(topic, given("e1"))
    letters = DeadLetterFile(tmp_path / "rejected.jsonl")
    short = STREAM.model_copy(update={"retry_s": 0.5})
    sink = EventSink(open_store(place), Landing(str(blocked)), rules)
    running = Running(broker, topic, sink, letters, short)
    assert isinstance(running.join(), StorageError)
    assert broker.left(topic, topic) == 1

    blocked.unlink()
    sink = EventSink(open_store(place), Landing(str(blocked)), rules)
    running = Running(broker, topic, sink, letters, short)
    until(lambda: broker.left(topic, topic) == 0)
    assert running.ended() is None
    assert ids(store) == ["e1"]


def test_asked_to_end_while_a_store_is_away_it_ends_and_acknowledges_nothing(
    broker, topic, place, rules, tmp_path
):
    blocked = tmp_path / "offline"
    blocked.write_text("a file where the folder should be")
    broker.send(topic, given("e1"))
    sink = EventSink(open_store(place), Landing(str(blocked)), rules)
    letters = DeadLetterFile(tmp_path / "rejected.jsonl")
    running = Running(broker, topic, sink, letters, STREAM.model_copy(update={"retry_s": 600.0}))
    failures = "ostinato_stream_store_failures_total"
    labels = {"source": "kafka"}
    until(lambda: running.metrics.registry.get_sample_value(failures, labels) >= 1)
    assert running.ended() is None
    assert broker.left(topic, topic) == 1


@pytest.mark.slow
def test_dead_letters_can_go_to_a_topic(broker, topic, sink, store):
    broker.send(topic, given("e1"), b"nothing")
    letters = DeadLetterTopic(broker.connected, f"{topic}-dead")
    running = Running(broker, topic, sink, letters)
    until(lambda: broker.left(topic, topic) == 0)
    assert running.ended() is None
    reader = Consumer({**broker.connected, "group.id": "reader", "auto.offset.reset": "earliest"})
    reader.subscribe([f"{topic}-dead"])
    message = reader.poll(20)
    while message is None or message.error():
        message = reader.poll(20)
    reader.close()
    assert message.value() == b"nothing"
    told = dict(message.headers())
    assert b"not JSON" in told["reason"]
    assert json.loads(told["origin"])["topic"] == topic


def test_dead_letters_that_reach_nobody_are_said(monkeypatch):
    monkeypatch.setattr("feature_repo.stream.kafka_dead_letters._WAIT_S", 0.5)
    letters = DeadLetterTopic({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, "dead")
    letters.put(b"x", "wrong", {})
    with pytest.raises(StorageError, match="did not reach the topic dead"):
        letters.flush()


def test_a_file_of_dead_letters_on_a_full_disk_keeps_whole_lines(tmp_path):
    letters = DeadLetterFile(tmp_path / "rejected.jsonl")
    letters.put(b"first", "wrong", {})
    letters.flush()
    before = letters.path.read_bytes()
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    letters.put(b"x" * 5_000, "wrong", {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot write rejected events"):
            letters.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert letters.path.read_bytes() == before
    letters.flush()
    assert len(letters.path.read_text().splitlines()) == 2


def test_settings_come_from_the_environment_and_ours_stay_ours():
    given_settings = {
        "OSTINATO_KAFKA_BOOTSTRAP_SERVERS": "b:9092",
        "OSTINATO_KAFKA_SASL_PASSWORD": "secret",
        "OSTINATO_KAFKA_SESSION_TIMEOUT_MS": "6000",
        "OTHER": "x",
    }
    connected = connection(given_settings)
    assert connected == {
        "bootstrap.servers": "b:9092",
        "sasl.password": "secret",
        "session.timeout.ms": "6000",
    }
    settings = consumer_settings(connected, "g")
    assert (settings["enable.auto.commit"], settings["auto.offset.reset"]) == (False, "earliest")
    assert "session.timeout.ms" not in producer_settings(connected)
    with pytest.raises(ConfigError, match="OSTINATO_KAFKA_BOOTSTRAP_SERVERS is not set"):
        connection({})
    with pytest.raises(ConfigError, match="OSTINATO_KAFKA_ENABLE_AUTO_COMMIT can't be set"):
        connection({**given_settings, "OSTINATO_KAFKA_ENABLE_AUTO_COMMIT": "true"})


def test_the_program_says_what_is_wrong(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("OSTINATO_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert main([str(shop(tmp_path)), "--topic", "t"]) == 1
    assert "OSTINATO_KAFKA_BOOTSTRAP_SERVERS is not set" in capsys.readouterr().err


def shop(folder: Path) -> Path:
    config = folder / "shop.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "name": "shop",
                "workspace": str(folder / "space"),
                "source": {"kind": "synthetic"},
                "actions": ACTIONS,
            }
        )
    )
    return config


DYING = """
import os, signal, sys
from feature_repo.stream import kafka, kafka_consumer

def die(self, messages):
    os.kill(os.getpid(), signal.SIGKILL)

kafka_consumer.KafkaEvents._commit = die
kafka.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_the_program_is_killed_before_it_commits_and_its_successor_ends_in_order(
    broker, topic, tmp_path
):
    config = shop(tmp_path)
    (tmp_path / "space" / "features").mkdir(parents=True)
    store = open_store(str(tmp_path / "space" / "features" / "online.db"))
    store.declare("user_sequence", "user_id", KINDS)
    broker.send(topic, *(given(f"e{n:02}", time=given()["time"] + n) for n in range(20)))
    environment = {
        **os.environ,
        "OSTINATO_KAFKA_BOOTSTRAP_SERVERS": broker.address,
        "OSTINATO_KAFKA_SESSION_TIMEOUT_MS": "6000",
    }
    words = [str(config), "--topic", topic, "--metrics-port", "0"]
    ran = subprocess.run(
        [sys.executable, "-c", DYING, *words], env=environment, cwd=ROOT, timeout=60, check=False
    )
    assert ran.returncode == -signal.SIGKILL
    landing = Landing(str(tmp_path / "space" / "features" / "offline" / "shop"))
    assert landing.read().events.num_rows > 0
    assert broker.left(topic, "ostinato-shop") == 20

    # The killed member is thrown out of the group after its session's time.
    program = subprocess.Popen(
        [sys.executable, "-m", "feature_repo.stream.kafka", *words], env=environment, cwd=ROOT
    )
    try:
        until(lambda: broker.left(topic, "ostinato-shop") == 0, 60)
        broker.send(topic, given("late", time=given()["time"] + 99))
        until(lambda: broker.left(topic, "ostinato-shop") == 0)
        program.send_signal(signal.SIGTERM)
        assert program.wait(30) == 0
    finally:
        program.kill()
        program.wait()
    read = landing.read()
    assert read.events["event_id"].to_pylist() == [*(f"e{n:02}" for n in range(20)), "late"]
    assert read.conflicting == 0
    assert ids(store) == [*(f"e{n:02}" for n in range(20)), "late"]


def test_an_error_that_kafka_cannot_get_over_is_said(broker, topic, sink, tmp_path):
    class Fatal:
        def error(self):
            return self

        def fatal(self):
            return True

    letters = DeadLetterFile(tmp_path / "rejected.jsonl")
    settings = consumer_settings(broker.connected, "other")
    worker = Worker(sink, StreamMetrics("kafka"), 10)
    events = KafkaEvents(settings, topic, worker, letters, STREAM)
    events._early = [Fatal()]
    with pytest.raises(FeatureError, match="can't be used any more"):
        events.run()
