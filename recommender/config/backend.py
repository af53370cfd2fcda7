"""The Kubeflow Pipelines backend that runs are sent to, and what runs there by the clock."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, field_validator

from recommender.config.section import Section

_CRON_FIELD = re.compile(r"[-0-9*/,?A-Za-z]+")
_IMAGE_NAME = re.compile(r"ostinato-[a-z-]+")
_IMAGE_REFERENCE = re.compile(r"[\w][\w./:-]*(@sha256:[0-9a-f]{64}|:[\w][\w.-]{0,127})")
_RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_NAMES = ("second", "minute", "hour", "day of the month", "month", "day of the week")


class ScheduleConfig(Section):
    """One recurring run."""

    pipeline: Literal["training", "refresh"] = "training"
    """What runs: a full training, or a refresh of the champion."""

    cron: str
    """Six fields, seconds first: `0 30 2 * * *` is every night at half past two, UTC. The server
    would take a wrong one without a word, so that it is looked at here."""

    start: datetime | None = None
    """Nothing runs before it; null: from now on."""

    end: datetime | None = None
    """Nothing runs after it; null: no end."""

    concurrency: int = Field(1, ge=1, le=10)
    """Runs of this schedule at the same time."""

    catch_up: bool = False
    """Whether runs that were missed (the schedule was switched off) are made up for."""

    enabled: bool = True
    """Whether it runs."""

    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings by dotted key that win over the configuration's, as with `--set`."""

    @field_validator("cron")
    @classmethod
    def _six_fields(cls, value: str) -> str:
        fields = value.split()
        if len(fields) != len(_RANGES):
            raise ValueError(
                f"{len(fields)} fields in {value!r}; it takes six: second minute hour day month "
                "weekday"
            )
        for text, (low, high), name in zip(fields, _RANGES, _CRON_NAMES, strict=True):
            numbers = [int(number) for number in re.findall(r"\d+", text.partition("/")[0])]
            wrong = [number for number in numbers if not low <= number <= high]
            if not _CRON_FIELD.fullmatch(text) or wrong:
                raise ValueError(f"{text!r} is no {name} ({low} to {high}) in {value!r}")
        return " ".join(fields)


class TrainPodConfig(Section):
    """What a pod that trains asks of the cluster: the steps `train`, `refresh` and `tune`."""

    cpu: int = Field(4, ge=1)
    """Cores; twice as many are its limit."""

    memory: str = Field("32G", pattern=r"^[1-9][0-9]*([KMGT]i?)?$")
    """Memory, in Kubernetes units."""

    gpus: int | None = Field(None, ge=0)
    """GPUs; null: one, or none where the step only follows a TrainJob on nodes of its own."""

    hours: float = Field(14, gt=0)
    """After which the pod is stopped. It is started again a few times, and goes on from its
    checkpoint or takes over the TrainJob. Longer than `distributed.trainjob` may take by default.
    """


class BackendConfig(Section):
    """Where `ostinato submit` and `ostinato schedule` send runs.

    Tokens are no settings: in a cluster the service account's projected token is read, elsewhere
    the environment variable `token_variable` names holds one.
    """

    host: str = ""
    """URL of the API (`https://…`); empty: the pipeline service of the cluster that we are in."""

    namespace: str = ""
    """The user's namespace where the backend is multi-user: the pods of a run, their claim,
    ConfigMap and Secrets are there. Empty: single-user; then they are where the backend is."""

    experiment: str = ""
    """Experiment of the runs; empty: named after the data set."""

    pipeline: str = "ostinato-training"
    """Name of the pipeline; each version of the code becomes a version of it."""

    images: dict[str, str] = Field(default_factory=dict)
    """Image of every step by name (`ostinato-train: <repository>@sha256:…`), put into the pipeline
    when it is uploaded. Empty: `ostinato-<step>:<version>`, which only a cluster has whose nodes
    got a developer's build."""

    service_account: str = ""
    """Kubernetes service account of the steps; empty: the backend's default."""

    pipeline_root: str = ""
    """Where artifacts go (`s3://…`); empty: the backend's default."""

    train: TrainPodConfig = TrainPodConfig()
    """What a pod that trains asks of the cluster."""

    token_variable: str = Field("OSTINATO_KFP_TOKEN", pattern=r"^[A-Z][A-Z0-9_]*$")
    """Environment variable with a bearer token."""

    ca_file: str = ""
    """Certificates to trust; empty: the machine's."""

    timeout_s: float = Field(30.0, gt=0)
    """Longest wait for one answer of the API."""

    attempts: int = Field(5, ge=1, le=20)
    """How often a call is tried while the API is down, busy or slow; with growing pauses."""

    pause_s: float = Field(1.0, ge=0)
    """Pause before the second attempt; doubled each time, with a random part."""

    poll_s: float = Field(5.0, gt=0)
    """Pause between two looks at a run that is followed."""

    schedules: dict[str, ScheduleConfig] = Field(default_factory=dict)
    """Recurring runs by name: what is here is what runs (`ostinato schedule apply`)."""

    @field_validator("images")
    @classmethod
    def _references(cls, images: dict[str, str]) -> dict[str, str]:
        for name, reference in images.items():
            if not _IMAGE_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no image's name; it is ostinato-<step>")
            if not _IMAGE_REFERENCE.fullmatch(reference):
                raise ValueError(f"{name}: {reference!r} is neither <repository>@sha256:… nor :tag")
        return images
