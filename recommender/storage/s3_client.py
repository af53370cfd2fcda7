"""The client that speaks to S3, or to another server of its protocol, and what its errors mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def s3_client(timeout_s: float) -> S3Client:
    """Return a client as the environment configures it, with four tries of `timeout_s` each."""
    session = boto3.session.Session()
    settings: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": 4},
        "connect_timeout": timeout_s,
        "read_timeout": 30,
    }
    region = session.region_name or "us-east-1"
    client = session.client("s3", region_name=region, config=Config(**settings))
    configured = session._session.get_scoped_config().get("s3", {})
    style = configured.get("addressing_style") if isinstance(configured, dict) else None
    if ".amazonaws." not in client.meta.endpoint_url and not style:
        # Other servers seldom have a DNS name per bucket.
        settings["s3"] = {"addressing_style": "path"}
        client = session.client("s3", region_name=region, config=Config(**settings))
    return client


def is_conflict(error: ClientError, if_match: str | None) -> bool:
    """Tell whether a write was refused because of what is there; arguments as of the write."""
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    code = error.response.get("Error", {}).get("Code", "")
    gone = if_match is not None and code in ("NoSuchKey", "404")
    return status in (409, 412) or gone
