"""Receive events as CloudEvents over HTTP, land them, and update the online sequences.

POST /events takes CloudEvents 1.0: structured (application/cloudevents+json), binary (ce-* headers)
and batch mode (application/cloudevents-batch+json). The data of each holds the canonical fields:
event_id, user_id, item_id, event, time (UTC milliseconds, or ISO 8601 with a zone), and value,
surface, position, propensity where there are such. It is answered after the events have landed and
are in the sequences; after anything but 200 or 400 send the same request again. GET /healthz,
/readyz and /metrics (Prometheus) need no token.

  export OSTINATO_STREAM_TOKEN=…
  python -m feature_repo.stream.http configs/synthetic.yaml --port 8090
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import sys
from pathlib import Path

from recommender.config import Config, load
from recommender.errors import ConfigError, UserError

TOKEN_VARIABLE = "OSTINATO_STREAM_TOKEN"  # noqa: S105 - the name of a variable
_SHORTEST_TOKEN = 16


def serve(
    config: Config,
    host: str = "127.0.0.1",
    port: int = 8090,
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serve until a signal ends it; what has been taken until then is applied first.

    Args:
        config: of the data set; its live project gets the events.
        host: address to listen on.
        port: to listen on; 0 picks a free one.
        certificate: PEM chain; with it TLS is spoken.
        key: PEM key of the certificate.

    Raises:
        ConfigError: the environment or the options are wrong.
        FeatureError: the online store can't be opened.
    """
    token = checked_token(host)
    if (certificate is None) != (key is None):
        raise ConfigError("TLS needs both a certificate and its key")
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise ConfigError(f"{path} does not exist")
    import uvicorn

    from feature_repo.stream.http_app import make_app
    from feature_repo.stream.metrics import StreamMetrics
    from feature_repo.stream.opening import open_sink
    from feature_repo.stream.working import Worker

    stream = config.features.stream
    worker = Worker(open_sink(config), StreamMetrics("http"), stream.compact_files)
    uvicorn.run(
        make_app(worker, stream, token),
        host=host,
        port=port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        access_log=False,
        log_level="info",
        server_header=False,
        timeout_graceful_shutdown=30,
    )


def checked_token(host: str) -> str | None:
    """Return the bearer token of the environment; None where only this machine can connect.

    Raises:
        ConfigError: there is none although others can connect, or it is too short.
    """
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if token and len(token) < _SHORTEST_TOKEN:
        raise ConfigError(
            f"{TOKEN_VARIABLE} has {len(token)} characters; it needs {_SHORTEST_TOKEN} or more",
            "make one with `openssl rand -hex 32`",
        )
    if not token and not is_loopback(host):
        raise ConfigError(
            f"{host} can be reached by others, and {TOKEN_VARIABLE} is not set",
            "make a token with `openssl rand -hex 32`, or listen on 127.0.0.1",
        )
    return token or None


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main(arguments: list[str] | None = None) -> int:
    """Run the consumer; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m feature_repo.stream.http",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="the data set's YAML")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="port; 0: a free one (%(default)s)")
    parser.add_argument("--tls-cert", type=Path, help="PEM certificate chain")
    parser.add_argument("--tls-key", type=Path, help="PEM key of the certificate")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(load(given.config), given.host, given.port, given.tls_cert, given.tls_key)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
