"""Where model versions lie."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class RegistryConfig(Section):
    """Where model versions, decisions and aliases lie."""

    location: str = Field("", pattern=r"^(s3://[^/]+/.+|/.*|file:///.+)?$")
    """`s3://bucket/prefix`, or a folder by its absolute path; default: the workspace. A cluster
    needs a bucket: that is what its model servers read. Keys and fetched versions stay in the
    workspace."""
