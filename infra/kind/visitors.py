#!/usr/bin/env python3
"""People for `cluster.sh e2e`: they ask for recommendations through the Gateway, and click.

A canary is judged by its visitors, so there have to be some. They ask in turn, look at what comes,
and every second list gets a click, whoever made it: both arms are liked equally. Runs until it is
ended. Takes the URL of the Gateway, and the host by which that knows the model.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

USERS = 400
PAUSE_S = 0.02
_WAIT_S = 2.0
_TIMEOUT_S = 10.0


def visit(base: str, host: str, user: str, *, click: bool) -> bool:
    """Ask for a user's recommendations and perhaps click the first one.

    Args:
        base: URL of the Gateway.
        host: that the Gateway knows the model by.
        user: id of the user.
        click: whether the first item is clicked.

    Returns:
        whether there was an answer; before the first model is served there is none.
    """
    asked = {"instances": [{"user_id": user, "k": 10}]}
    try:
        told = _post(f"{base}/v1/models/ostinato:predict", host, asked)["predictions"][0]
        if click and told["items"]:
            item = told["items"][0]["item_id"]
            report = {"request_id": told["request_id"], "item_id": item, "action": "click"}
            _post(f"{base}/v1/feedback", host, report)
    except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError, KeyError):
        return False
    return True


def _post(url: str, host: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 the caller names the Gateway
        url, json.dumps(body).encode(), {"Host": host, "Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        read = answer.read()
    told: dict[str, Any] = json.loads(read) if read else {}
    return told


def main() -> None:
    """Send visitors until somebody ends it."""
    base, host = sys.argv[1:]
    visits = 0
    while True:
        user = visits % USERS
        # In turn, too: who clicks this time doesn't the next time.
        click = (user + visits // USERS) % 2 == 0
        answered = visit(base, host, f"u{user:05}", click=click)
        visits += 1
        time.sleep(PAUSE_S if answered else _WAIT_S)


if __name__ == "__main__":
    main()
