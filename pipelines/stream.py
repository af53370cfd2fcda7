"""`ostinato stream …`: consumers that bring events into the online sequences as they happen."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import DEFAULT, ConfigPath, WorkspacePath, config_of, console

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Bring events into the online sequences as they happen.

    Every event is validated, lands offline, and changes its user's sequence; then it is
    acknowledged, so it arrives at least once and counts once. A consumer runs until SIGTERM.
    """,
)


@app.command()
def http(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.", min=0, max=65535)] = 8090,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of the certificate.")] = None,
) -> None:
    """Take CloudEvents over HTTP: POST /events, structured, binary or in batches.

    The data of each holds event_id, user_id, item_id, event and time (UTC milliseconds, or ISO 8601
    with a zone). 200 comes after the effects; 400 names the wrong field; after 503 send it again.
    Others than this machine need the bearer token of OSTINATO_STREAM_TOKEN.

    Example:
      ostinato stream http --port 8090
    """
    from feature_repo.stream.http import serve

    _log()
    serve(config_of(config, workspace), host, port, tls_cert, tls_key)


@app.command()
def kafka(
    topic: Annotated[str, typer.Option(help="Topic that holds the events.")],
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    group: Annotated[str, typer.Option(help="Consumer group; default ostinato-<name>.")] = "",
    dead_letter_topic: Annotated[
        str, typer.Option(help="Takes rejected events; default: a file of the workspace.")
    ] = "",
    metrics_port: Annotated[
        int, typer.Option(help="Port of the Prometheus figures; 0: none.", min=0, max=65535)
    ] = 0,
) -> None:
    """Consume a Kafka topic: one JSON object per message, or a CloudEvent.

    Brokers and credentials are librdkafka's settings from the environment:
    OSTINATO_KAFKA_BOOTSTRAP_SERVERS is bootstrap.servers, OSTINATO_KAFKA_SASL_PASSWORD is
    sasl.password, and so on. Members of one group share the partitions.

    Example:
      ostinato stream kafka --topic events
    """
    from feature_repo.stream.kafka import consume

    _log()
    consume(config_of(config, workspace), topic, group, dead_letter_topic, metrics_port)


@app.command()
def compact(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Join the small files in which events have landed; consumers do so by themselves."""
    from feature_repo.stream.opening import landing_of

    joined = landing_of(config_of(config, workspace)).compact()
    console().print(f"joined {joined} files")


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
