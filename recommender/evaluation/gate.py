"""The gate: evidence and policy in, a verdict with the reason for it out.

Every rule says `pass`, `fail` or `insufficient` (the data can't tell). The verdict is the worst
of them, so `insufficient` is never a pass. A comparison is

    pass          the whole interval is on the good side of the threshold
    fail          the estimate itself is not
    insufficient  the estimate is, but the interval reaches over: too few users to be sure

and always `insufficient` when fewer users than `minimum_users` stand behind it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from recommender.config.evaluation import GateConfig
from recommender.config.slices import SlicesConfig
from recommender.errors import ArtifactError, StorageError
from recommender.evaluation.evidence import ChampionFacts, Evidence, Record
from recommender.evaluation.rules import (
    Rule,
    Verdict,
    beats,
    differs_from_champion,
    enough_users,
    not_worse,
    not_worse_than_champion,
    plausible,
    scores_are_numbers,
)
from recommender.evaluation.rules_of_findings import (
    above_floor,
    calibrated,
    fair,
    no_group_left_behind,
    within_budget,
)
from recommender.files import read_json, write_json

Action = Literal["deploy", "reject", "keep champion"]
FILE = "decision.json"
_SEVERITY: tuple[Verdict, ...] = ("pass", "insufficient", "fail")


class Decision(Record):
    """The verdict, the rules behind it, and what follows.

    Attributes:
        verdict: the worst of the rules.
        action: `keep champion` where there is nothing new to deploy: the candidate is the
            champion. Its version must not be recorded as a bad one.
        headline: the decision in a sentence.
        rules: every rule.
        candidate_version: what was judged.
        champion_version: what it was compared with, if anything served.
        policy: the thresholds.
    """

    format: Literal[1] = 1
    run_id: str
    verdict: Verdict
    action: Action
    headline: str
    rules: tuple[Rule, ...]
    candidate_version: str
    champion_version: str | None
    data_version: str
    evaluation_set: str
    policy: GateConfig

    def write(self, folder: Path) -> None:
        """Write `decision.json` into `folder`."""
        write_json(folder / FILE, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> Decision:
        """Read what `write` left.

        Raises:
            ArtifactError: it is missing, or not a decision of a format that we know.
        """
        try:
            return cls.model_validate(read_json(folder / FILE))
        except (StorageError, ValidationError) as error:
            raise ArtifactError(
                f"{folder / FILE} is not a readable decision: {error}", "run the gate step again"
            ) from None


def judge(evidence: Evidence, policy: GateConfig, slices: SlicesConfig | None = None) -> Decision:
    """Apply the policy, and the tolerances of groups (by default the usual ones)."""
    rules = (
        scores_are_numbers(evidence),
        plausible(evidence, policy),
        enough_users(evidence, policy),
        above_floor(evidence, policy),
        *(beats(evidence, rival, policy) for rival in policy.must_beat),
        *(
            not_worse(evidence, rival, policy.match_margin, policy.minimum_users)
            for rival in policy.must_match
        ),
        not_worse_than_champion(evidence, policy),
        no_group_left_behind(evidence, policy, slices or SlicesConfig()),
        calibrated(evidence, policy),
        fair(evidence, policy),
        within_budget(evidence, policy),
        differs_from_champion(evidence),
    )
    verdict = max((rule.verdict for rule in rules), key=_SEVERITY.index)
    champion = evidence.champion
    same = champion is not None and champion.identical is not None
    others = [rule.verdict for rule in rules[:-1]]
    action: Action = "reject"
    if verdict == "pass":
        action = "deploy"
    elif same and "fail" not in others:
        action = "keep champion"
    return Decision(
        run_id=evidence.run_id,
        verdict=verdict,
        action=action,
        headline=_headline(action, rules, champion),
        rules=rules,
        candidate_version=evidence.candidate_version,
        champion_version=evidence.champion.version if evidence.champion else None,
        data_version=evidence.evaluation_set.data_version,
        evaluation_set=evidence.evaluation_set.version,
        policy=policy,
    )


def _headline(action: Action, rules: tuple[Rule, ...], champion: ChampionFacts | None) -> str:
    said = _said(action, rules)
    if action == "deploy" or champion is None or not champion.to_replace:
        return said
    return f"{said} It is urgent: the champion saw {champion.to_replace:,} of those forgotten."


def _said(action: Action, rules: tuple[Rule, ...]) -> str:
    if action == "deploy":
        return "Passed: the candidate may be deployed."
    if action == "keep champion":
        return f"Nothing to deploy: {rules[-1].reason}"
    failed = [rule for rule in rules if rule.verdict == "fail"]
    if failed:
        return f"Not deployed: {failed[0].reason}"
    unsure = [rule for rule in rules if rule.verdict == "insufficient"]
    return f"Not deployed, because the data can't tell: {unsure[0].reason}"
