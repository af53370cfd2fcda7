"""What boto3 raises when S3 says no, in words that name the object and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from recommender.errors import StorageError

_CREDENTIALS = (
    "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE and the rights of this identity "
    "on the bucket (reading needs GetObject and ListBucket)"
)
_ENDPOINT = "check AWS_ENDPOINT_URL_S3 / AWS_ENDPOINT_URL, the region and the network"

# By error code; a HEAD has no body, so there its status is the code.
_BY_CODE = {
    "NoSuchKey": ("does not exist", "check the name"),
    "404": ("does not exist", "check the bucket and the name"),
    "NoSuchBucket": ("lies in a bucket that does not exist", "check the bucket's name"),
    "NotFound": ("does not exist", "check the bucket and the name"),
    "AccessDenied": ("is forbidden to these credentials", _CREDENTIALS),
    "403": ("is forbidden to these credentials", _CREDENTIALS),
    "Forbidden": ("is forbidden to these credentials", _CREDENTIALS),
    "InvalidAccessKeyId": ("can't be opened: the access key is unknown", _CREDENTIALS),
    "SignatureDoesNotMatch": ("can't be opened: the secret key is wrong", _CREDENTIALS),
    "ExpiredToken": ("can't be opened: the session token has expired", _CREDENTIALS),
    "InvalidToken": ("can't be opened: the session token is not valid", _CREDENTIALS),
    "InvalidObjectState": (
        "is archived and can't be read directly",
        "restore it from its storage class first",
    ),
    "RequestTimeTooSkewed": ("can't be opened: this clock is wrong", "set the machine's time"),
}


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn what boto3 raises within into a `StorageError` about `uri`."""
    try:
        yield
    except (ClientError, BotoCoreError, Boto3Error) as error:
        raise explain(error, uri) from error


def explain(error: BaseException, uri: str) -> StorageError:
    """Return the `StorageError` that says what boto3's error means for `uri`."""
    if isinstance(error, Boto3Error) and isinstance(error.__context__, ClientError | BotoCoreError):
        error = error.__context__  # boto3 wraps the transfer manager's errors in text
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        what, hint = _BY_CODE.get(code) or _BY_CODE.get(str(status), ("", ""))
        if what:
            return StorageError(f"{uri} {what} (S3 says {code})", hint)
        retry = "the server has trouble; try again later" if status >= 500 else ""
        return StorageError(f"{uri}: {error}", retry)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StorageError(f"{uri} can't be opened: {error}", _CREDENTIALS)
    if isinstance(error, FlexibleChecksumError):
        return StorageError(f"{uri} is damaged: {error}", "run again; else store it again")
    if isinstance(error, HTTPClientError | ConnectionError):
        return StorageError(f"{uri} can't be reached: {error}", _ENDPOINT)
    return StorageError(f"{uri}: {error}", _ENDPOINT if "endpoint" in str(error).lower() else "")
