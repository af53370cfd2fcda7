"""Feast's feature server over HTTPS, for those who carry a token.

`feast serve` asks for tokens only with an OpenID provider or inside Kubernetes; this serves the
same application behind a token of the environment, with a registry that is opened for reading.

Usage: python -m feature_repo.serve [--host H] [--port P] [--workers N] [--key FILE --cert FILE]

The environment says what is served (`python -m feature_repo.environment CONFIG` prints it) and who
may ask:

`OSTINATO_FEATURES_TOKEN`        reads online features; several with commas, to exchange one
`OSTINATO_FEATURES_WRITE_TOKEN`  may push and write as well

The production profile is served with a key, a certificate and a token, or not at all; the embedded
one without them to this machine only.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from feature_repo.locations import FEATURES_VARIABLE, PROJECT_VARIABLE
from feature_repo.profile import Profile, read_profile
from feature_repo.token_gate import READ_VARIABLE, App, TokenGate, Tokens
from recommender.errors import ConfigError, UserError
from recommender.workspace import Workspace

_REGISTRY_TTL_S = 60
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def application() -> App:
    """Return the ASGI application that the environment asks for.

    Raises:
        ConfigError: the environment is incomplete.
        FeatureError: the registry or a store can't be used.
    """
    from feature_repo.sdk import open_store

    features = Path(_needed(FEATURES_VARIABLE))
    store = open_store(
        Workspace(features.parent), _needed(PROJECT_VARIABLE), read_profile(), read_only=True
    )
    from feast.feature_server import get_app

    served: App = get_app(store, _REGISTRY_TTL_S)
    tokens = Tokens.read(os.environ)
    return served if tokens is None else TokenGate(served, tokens)


def check(profile: Profile, host: str, *, tls: bool, token: bool) -> None:
    """Make sure that features don't leave this machine unguarded.

    Raises:
        ConfigError: TLS or the token is missing where it is needed.
    """
    if tls and token:
        return
    missing = " and ".join(
        name for name, given in (("--key and --cert", tls), (READ_VARIABLE, token)) if not given
    )
    if not profile.embedded:
        raise ConfigError(
            f"the production profile is not served without {missing}", "see feature_repo/README.md"
        )
    if host not in _LOOPBACK:
        raise ConfigError(
            f"features are not served to other machines (on {host}) without {missing}",
            f"give them, or serve on {_LOOPBACK[0]}",
        )


def main(arguments: list[str]) -> int:
    """Serve until a signal; return the exit code."""
    options = _options(arguments)
    try:
        tls, tokens = bool(options.key and options.cert), Tokens.read(os.environ)
        check(read_profile(), options.host, tls=tls, token=tokens is not None)
        for given in (options.key, options.cert):
            if given is not None and not given.is_file():
                raise ConfigError(f"{given} does not exist", "give --key and --cert as PEM files")
        # Also with several workers: what is wrong is said once, here.
        served = application()
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    import uvicorn

    logging.basicConfig(level=logging.INFO)
    uvicorn.run(
        served if options.workers == 1 else f"{__spec__.name}:application",
        factory=options.workers > 1,
        host=options.host,
        port=options.port,
        workers=options.workers,
        ssl_keyfile=options.key,
        ssl_certfile=options.cert,
        # Requests carry ids of users. Feast's own server ends each worker after 1,000 requests;
        # here they stay.
        access_log=False,
        # A worker imports Feast before it answers, which takes longer than the usual 5 s.
        timeout_worker_healthcheck=60,
    )
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m feature_repo.serve", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--host", default=_LOOPBACK[0])
    parser.add_argument("--port", type=int, default=6566)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--key", type=Path, help="private key, PEM")
    parser.add_argument("--cert", type=Path, help="certificate chain, PEM")
    return parser.parse_args(arguments)


def _needed(variable: str) -> str:
    if not (value := os.environ.get(variable, "")):
        raise ConfigError(
            f"{variable} is not set", 'eval "$(python -m feature_repo.environment CONFIG)"'
        )
    return value


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
