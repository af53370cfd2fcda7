"""From settings to all that sees to a server's answers: opened at its start, closed at its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from recommender.config import Config
from recommender.config.exploration import ExplorationConfig
from recommender.config.feedback import FeedbackConfig
from recommender.config.section import Section
from recommender.config.served_log import ServedLogConfig
from recommender.errors import ConfigError
from recommender.forgetting.suppression import Suppressions
from recommender.privacy import Pseudonyms, pseudonyms
from recommender.storage import is_s3
from recommender.workspace import Workspace
from serving.feedback.door import Door
from serving.feedback.ledger import Ledger, ledger_path
from serving.feedback.outbox import Outbox
from serving.feedback.request_id import SignedIds
from serving.observer import Observer
from serving.served_log.log import ServedLog
from serving.served_log.sinks import Nowhere, open_sink
from serving.telemetry.metrics import ServingMetrics, shared

if TYPE_CHECKING:
    from fastapi import FastAPI


_OUTBOX_OF_A_POD = "/tmp/feedback/outbox.db"  # noqa: S108 the pod's own


class Observing(Section):
    """The settings of what is done around answers, as a model server is told them."""

    exploration: ExplorationConfig = ExplorationConfig(epsilon=0)
    """`serving.exploration`."""

    log: ServedLogConfig = ServedLogConfig(sink="none")
    """`serving.log`."""

    feedback: FeedbackConfig | None = None
    """`serving.feedback`; None: there is no endpoint."""

    @classmethod
    def of(cls, config: Config) -> Observing:
        """Return the settings of a configuration."""
        serving = config.serving
        return cls(exploration=serving.exploration, log=serving.log, feedback=serving.feedback)

    @classmethod
    def in_a_pod(cls, config: Config) -> Observing:
        """Return the settings of a server that can write nowhere but in its own `/tmp`.

        Without a place beyond the pod nothing is logged, and so nothing is explored for nothing.
        """
        own = cls.of(config)
        log, feedback = own.log, config.serving.feedback
        if log.sink == "parquet" and not is_s3(log.location):
            own = own.model_copy(
                update={
                    "log": log.model_copy(update={"sink": "none"}),
                    "exploration": ExplorationConfig(epsilon=0),
                }
            )
        outbox = feedback.outbox or _OUTBOX_OF_A_POD
        return own.model_copy(update={"feedback": feedback.model_copy(update={"outbox": outbox})})

    @classmethod
    def from_json(cls, text: str) -> Observing:
        """Read what `model_dump_json` wrote.

        Raises:
            ConfigError: it is something else.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(f"--observing is wrong: {error.errors()[0]['msg']}") from None


class Watch:
    """What a model server has open beside its models.

    Args:
        settings: which parts there are.
        paths: the workspace: keys, the suppression list, and by default the logs.
        metrics: that are counted; None: those that KServe shows.
        names: pseudonyms of users; None: those of the workspace.

    Raises:
        StorageError: the place of the log or of the feedback can't be used.
        ConfigError: the pseudonym key is too short.
    """

    def __init__(
        self,
        settings: Observing,
        paths: Workspace,
        metrics: ServingMetrics | None = None,
        names: Pseudonyms | None = None,
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._names = names or pseudonyms(paths.keys)
        self._metrics = metrics or shared()
        feedback = settings.feedback or FeedbackConfig()
        self._ids = SignedIds(self._names, feedback.expires_s)
        self._suppressed = Suppressions(paths)
        self._log: ServedLog | None = None
        self._ledger: Ledger | None = None
        self._outbox: Outbox | None = None
        if sink := open_sink(settings.log, paths):
            self._log = ServedLog(sink, settings.log, self._suppressed.holds, self._metrics.lists)
            self._metrics.watch_queue(lambda: self._log.waiting if self._log else 0)
        if settings.feedback is not None:
            self._ledger = Ledger(ledger_path(settings.feedback, paths))
            sink = open_sink(settings.log, paths) or Nowhere()
            self._outbox = Outbox(self._ledger, sink, settings.log.rotate_s, feedback.expires_s)

    @classmethod
    def silent(cls) -> Watch:
        """Return one that explores nothing and logs nothing; its request ids end with it."""
        names = Pseudonyms(os.urandom(32))
        return cls(Observing(), Workspace(Path(os.devnull)), names=names)

    def of(self, version: str, model: str) -> Observer:
        """Return what sees to the answers of one model version.

        Args:
            version: of the model.
            model: its name in URLs.
        """
        metrics = self._metrics.of(version)
        metrics.ready(model)
        return Observer(
            version,
            self._ids,
            self._names,
            metrics,
            self._settings.exploration,
            self._log,
            lines=self._settings.log.lines,
        )

    def add_to(self, app: FastAPI, actions: tuple[str, ...]) -> None:
        """Add the feedback endpoint to an application; without settings for it nothing is added.

        Args:
            app: KServe's.
            actions: event types of the served model.
        """
        if self._ledger is None or self._settings.feedback is None:
            return
        Door(
            self._ids,
            self._ledger,
            self._settings.feedback,
            actions,
            self._suppressed.is_suppressed,
            self._metrics.feedback,
            self._metrics.acted,
        ).add_to(app)

    def close(self) -> None:
        """Write what waits; call it when no more requests come."""
        if self._log is not None:
            self._log.close()
        if self._outbox is not None:
            self._outbox.close()
        if self._ledger is not None:
            self._ledger.close()
