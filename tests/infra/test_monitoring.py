"""Dashboards and alerts: every metric is exported by somebody, every alert has a runbook.

Expressions are parsed as PromQL.
"""

from __future__ import annotations

import json
import re
import tempfile
from functools import cache
from pathlib import Path

import promql_parser
import pytest
import yaml
from platform_pods import KUBEFLOW, WORKFLOW_CONTROLLER
from prometheus_client import CollectorRegistry
from rendered import KUSTOMIZE, OVERLAYS, ROOT, name_of, of_kind, selects

from pipelines.triggers.book import Book
from pipelines.triggers.metrics import TriggerMetrics

MONITORING = KUSTOMIZE / "base" / "monitoring"
DASHBOARDS = sorted(MONITORING.glob("dashboards/*.json"))
RULES = sorted(MONITORING.glob("*-rules.yaml"))
OPERATIONS = ROOT / "docs" / "operations.md"

OTHERS = {
    # kube-state-metrics
    "kube_deployment_spec_replicas",
    "kube_deployment_status_replicas_available",
    "kube_pod_container_status_restarts_total",
    "kube_pod_status_phase",
    "kube_resourcequota",
    # the kubelet
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    # Argo Workflows 3.7, which KFP's backend runs on (the PodMonitor `workflows`)
    "argo_workflows_total_count",
}
"""Well-known metrics of others that our expressions may use; nothing else."""


@cache
def exported():
    """Return what our own code exports: sample names with their label names."""
    from feature_repo.freshness_metrics import _GAUGES
    from feature_repo.stream.metrics import StreamMetrics
    from pipelines.triggers.cause import Cause, Kind
    from recommender.config.triggers import TriggersConfig
    from serving.telemetry.metrics import ServingMetrics

    found = {}

    def note(name, kind, labels):
        names = {
            "counter": [f"{name}_total"],
            "histogram": [f"{name}_{end}" for end in ("bucket", "sum", "count")],
        }.get(kind, [name])
        for each in names:
            more = {"le"} if each.endswith("_bucket") else set()
            found[each] = set(labels) | more

    serving = CollectorRegistry()
    ServingMetrics(serving)
    for registry in (serving, StreamMetrics("http").registry):
        for collector in registry._collector_to_names:
            note(collector._name, collector._type, collector._labelnames)

    with tempfile.TemporaryDirectory() as folder:
        book = Book(Path(folder) / "book.db")
        book.add([Cause("asked#1", Kind.ASKED, "somebody asks")], 0.0)
        assert book.claim("r-1", TriggersConfig(), 1e9)
        triggers = TriggerMetrics(book)
        triggers.drifted({"popularity": (0.1, 0.3)})
        for family in triggers.collect():
            note(family.name, family.type, [k for s in family.samples for k in s.labels])
    for gauge in _GAUGES:
        note(f"ostinato_feature_{gauge}", "gauge", ["project", "view"])
    note("ostinato_feature_freshness_known", "gauge", ["project"])
    return found


def rules():
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["spec"]["groups"]:
            yield from group["rules"]


def panels():
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            if panel["type"] != "row":
                yield path.stem, panel


def expressions():
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for board, panel in panels():
        for target in panel["targets"]:
            yield f"{board}: {panel['title']}", target["expr"]


def selectors(node):
    """Yield the vector selectors of an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from selectors(argument)
    elif isinstance(node, promql_parser.BinaryExpr):
        yield from selectors(node.lhs)
        yield from selectors(node.rhs)
    elif not isinstance(node, promql_parser.NumberLiteral | promql_parser.StringLiteral):
        yield from selectors(node.expr)


@pytest.mark.parametrize(("where", "expr"), list(expressions()), ids=lambda text: text[:40])
def test_every_metric_is_exported_and_has_the_labels_that_are_asked_for(where, expr):
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    parsed = promql_parser.parse(expr.replace("$__rate_interval", "5m"))
    found = list(selectors(parsed))
    assert found, where
    for each in found:
        assert each.name in exported().keys() | OTHERS | recorded, f"{where}: {each.name}"
        if each.name in exported():
            asked = {matcher.name for matcher in each.matchers.matchers}
            assert asked <= exported()[each.name], f"{where}: {asked}"


@pytest.mark.parametrize("expr", [expr for _, expr in expressions() if "ostinato_" in expr])
def test_what_is_summed_by_is_a_label_of_what_is_summed(expr):
    names = {
        each.name for each in selectors(promql_parser.parse(expr.replace("$__rate_interval", "5m")))
    }
    known = set().union(*(exported().get(name, set()) for name in names))
    for labels in re.findall(r"\bby \(([^)]*)\)", expr):
        assert set(re.split(r",\s*", labels)) <= known, labels


def test_every_metric_that_we_export_is_looked_at_somewhere():
    """A figure that nobody sees is not worth its series; named here are those for a closer look."""
    used = {
        each.name
        for _, expr in expressions()
        for each in selectors(promql_parser.parse(expr.replace("$__rate_interval", "5m")))
    }
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported()}
    assert ours - families == {"ostinato_stream_batch_events"}


def exported_before_anything_happened():
    """Return the metrics of a trigger receiver that has just been installed."""
    with tempfile.TemporaryDirectory() as folder:
        text = TriggerMetrics(Book(Path(folder) / "book.db")).text()
    return set(re.findall(r"^(ostinato_\w+)", text, re.MULTILINE))


def comparisons(node):
    """Yield the comparisons in an expression."""
    if isinstance(node, promql_parser.BinaryExpr):
        if str(node.op) in (">", ">=", "<", "<="):
            yield node
        yield from comparisons(node.lhs)
        yield from comparisons(node.rhs)
    elif isinstance(node, promql_parser.ParenExpr):
        yield from comparisons(node.expr)


def too_old(node):
    """Return the selectors of what an expression finds too old: `time() - x > limit`."""
    return [
        found
        for each in comparisons(node)
        if str(each.op).startswith(">") and "time()" in str(each.lhs)
        for found in selectors(each.lhs)
    ]


def test_what_never_happened_is_no_reason_for_silence():
    """A series that is not there is older than no limit: such a rule would never speak up."""
    always = exported_before_anything_happened()
    assert "ostinato_trigger_causes_waiting" in always
    rare = {each for each in exported() if each.startswith(("ostinato_trigger", "ostinato_drift"))}
    rare -= always
    assert too_old(promql_parser.parse("time() - max(ostinato_drift_looked_timestamp_seconds) > 9"))
    asked = set()
    for rule in rules():
        parsed = promql_parser.parse(rule["expr"])
        assert not {each.name for each in too_old(parsed)} & rare, rule["alert"]
        if isinstance(parsed, promql_parser.BinaryExpr) and str(parsed.op) == "unless":
            # "The receiver has been there long enough, unless …"
            assert {each.name for each in selectors(parsed.lhs)} <= always, rule["alert"]
            assert all(each.offset for each in selectors(parsed.lhs)), rule["alert"]
            asked.add(rule["alert"])
    assert asked == {"OstinatoNoRunSucceeds", "OstinatoDriftUnknown"}


@pytest.mark.parametrize("environment", OVERLAYS)
def test_argos_controller_is_scraped_as_it_speaks_and_only_our_runs_count(environment):
    labels, port, scheme = WORKFLOW_CONTROLLER
    (monitor,) = [
        each["spec"]
        for each in of_kind(environment, "PodMonitor")
        if "namespaceSelector" in each["spec"]
    ]
    assert monitor["namespaceSelector"]["matchNames"] == list(KUBEFLOW.values())
    assert selects(monitor["selector"], labels)
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["scheme"]) == (port, scheme)
    assert endpoint["tlsConfig"] == {"insecureSkipVerify": True}, "it signs its own certificate"
    # The target's namespace is the controller's; that of a workflow is moved aside by Prometheus.
    assert not endpoint.get("honorLabels")
    for where, expr in expressions():
        for each in selectors(promql_parser.parse(expr.replace("$__rate_interval", "5m"))):
            if each.name.startswith("argo_"):
                told = {m.name: m.value for m in each.matchers.matchers}
                assert told["exported_namespace"] == "ostinato", where


@pytest.mark.parametrize("environment", OVERLAYS)
def test_prometheus_is_told_of_every_monitor_and_rule(environment):
    """The chart kube-prometheus-stack chooses them by the name of its release."""
    page = OPERATIONS.read_text()
    for each in of_kind(environment, "ServiceMonitor", "PodMonitor", "PrometheusRule"):
        release = each["metadata"]["labels"]["release"]
        assert f"`release: {release}`" in page, name_of(each)


def test_a_made_up_metric_or_label_is_found():
    check = test_every_metric_is_exported_and_has_the_labels_that_are_asked_for
    with pytest.raises(AssertionError, match="ostinato_clicks_total"):
        check("x", "sum(rate(ostinato_clicks_total[5m]))")
    with pytest.raises(AssertionError, match="colour"):
        check("x", 'ostinato_answers_total{colour="red"}')
    with pytest.raises(ValueError, match="unclosed"):
        check("x", "sum by (rate(ostinato_answers_total[5m])")


def test_every_alert_says_how_bad_it_is_and_has_a_runbook():
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("#").strip().lower()).replace(" ", "-")
        for line in OPERATIONS.read_text().splitlines()
        if line.startswith("#")
    }
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) >= 20
    for rule in alerts:
        assert rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        assert len(rule["annotations"]["summary"]) > 20, rule["alert"]
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == "docs/operations.md"
        assert anchor == rule["alert"].lower()
        assert anchor in anchors, f"{rule['alert']} has no runbook"
    told = set(re.findall(r"^### (Ostinato\w+)$", OPERATIONS.read_text(), re.MULTILINE))
    assert told == {rule["alert"] for rule in alerts}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_opens(path):
    board = json.loads(path.read_text())
    assert board["schemaVersion"] >= 36
    assert board["uid"].startswith("ostinato-")
    assert board["title"]
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    places = []
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            places += [(x, y) for y in range(place["y"], place["y"] + place["h"])]
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
    assert len(set(places)) == len(places), "panels overlap"


def test_the_dashboards_show_what_they_are_for():
    titles = " ".join(panel["title"] for _, panel in panels()).lower()
    for what in (
        "latency",
        "errors",
        "requests per second",
        "by arm",
        "age of views",
        "drift",
        "runs",
    ):
        assert what in titles


def test_every_file_that_operations_names_is_there():
    text = OPERATIONS.read_text()
    for named in set(re.findall(r"`((?:overlays|base|components)/[\w<>./-]+)`", text)):
        for environment in ("dev", "staging", "prod"):
            if named == "overlays/<env>/roles.yaml" and environment == "dev":
                continue  # no IAM there
            assert (KUSTOMIZE / named.replace("<env>", environment)).exists(), named
