"""Who may speak with whom: NetworkPolicies as rendered, held against labels of others' pods."""

from __future__ import annotations

import ipaddress
import re

import pytest
from platform_pods import KFP, KUBEFLOW, lets_out
from rendered import OVERLAYS, ROOT, name_of, of_kind, pods, selects

from pipelines.cluster_parameters import STEP_LABEL
from pipelines.steps import NEEDS

pytestmark = pytest.mark.may_skip

everywhere = pytest.mark.parametrize("environment", OVERLAYS)
STEP_PODS = {
    step: {"pipelines.kubeflow.org/v2_component": "true", STEP_LABEL: step} for step in NEEDS
}
EVENT_PODS = {
    "event source": {"eventsource-name": "asks"},
    "sensor": {"sensor-name": "asks"},
    "event bus": {"eventbus-name": "default"},
}


def policies_of(environment, labels, direction):
    return [
        each
        for each in of_kind(environment, "NetworkPolicy")
        if direction in each["spec"]["policyTypes"] and selects(each["spec"]["podSelector"], labels)
    ]


@everywhere
def test_every_pod_is_denied_everything_but_what_a_policy_of_its_own_names(environment):
    every = {name: labels for name, labels, _ in pods(environment)} | STEP_PODS | EVENT_PODS
    for name, labels in every.items():
        for direction in ("Ingress", "Egress"):
            found = policies_of(environment, labels, direction)
            names = {each["metadata"]["name"] for each in found}
            assert "deny-all" in names, name
            assert names - {"deny-all", "dns"}, f"no policy speaks of {name}"
    (deny,) = [
        e for e in of_kind(environment, "NetworkPolicy") if e["metadata"]["name"] == "deny-all"
    ]
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@everywhere
def test_no_policy_opens_a_door_for_everybody(environment):
    for policy in of_kind(environment, "NetworkPolicy"):
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction) or []:
                assert rule.get(peers), f"{name_of(policy)}: any peer"
                assert rule.get("ports"), f"{name_of(policy)}: any port"
                for peer in rule[peers]:
                    assert peer.get("podSelector") != {}, name_of(policy)
                    assert peer.get("namespaceSelector") != {}, name_of(policy)
                    block = peer.get("ipBlock")
                    if block and block["cidr"] == "0.0.0.0/0":
                        # Public addresses by TLS; never the nodes' identity or the VPC.
                        assert [port["port"] for port in rule["ports"]] == [443]
                        assert {"169.254.0.0/16", "10.0.0.0/8"} <= set(block["except"])


@everywhere
def test_both_ends_of_each_connection_inside_agree(environment):
    """What one pod may send to another of ours, that one lets in."""
    every = {name: labels for name, labels, _ in pods(environment)} | STEP_PODS | EVENT_PODS
    every["minio"] = {"app": "minio"}
    for name, labels in every.items():
        for policy in policies_of(environment, labels, "Egress"):
            for rule in policy["spec"].get("egress") or []:
                for peer in rule["to"]:
                    if "podSelector" not in peer or "namespaceSelector" in peer:
                        continue
                    for other, theirs in every.items():
                        if selects(peer["podSelector"], theirs):
                            for port in rule["ports"]:
                                assert lets_in(environment, theirs, labels, port["port"]), (
                                    f"{name} to {other}:{port['port']}"
                                )


@everywhere
def test_every_pod_of_a_run_reaches_what_kubeflow_pipelines_speaks_with_and_no_more(
    environment,
):
    for step, labels in STEP_PODS.items():
        for name, (theirs, ports) in KFP.items():
            reached = set()
            for policy in policies_of(environment, labels, "Egress"):
                for rule in policy["spec"].get("egress") or []:
                    reached |= lets_out(rule, KUBEFLOW, theirs)
            assert reached >= set(ports), f"{step} can't reach {name}"
            # A Service's own port, where it differs: some CNIs look before it is translated.
            assert reached <= {*ports, 9000}, f"{step} to {name}"
    for labels in ({"app": "mysql"}, {"app": "workflow-controller"}, {}):
        for policy in policies_of(environment, STEP_PODS["train"], "Egress"):
            for rule in policy["spec"].get("egress") or []:
                assert not lets_out(rule, KUBEFLOW, labels)


@everywhere
def test_triggers_reach_the_pipelines_api_alone(environment):
    (labels,) = [labels for name, labels, _ in pods(environment) if name == "Deployment/triggers"]
    reached = {}
    for name, (theirs, _) in KFP.items():
        for policy in policies_of(environment, labels, "Egress"):
            for rule in policy["spec"].get("egress") or []:
                reached.setdefault(name, set()).update(lets_out(rule, KUBEFLOW, theirs))
    assert reached == {"API": {8888}, "metadata": set(), "artifacts": set()}


@everywhere
def test_private_addresses_are_named_as_narrowly_as_they_are_known(environment):
    """The Kubernetes API is no pod: who needs it names its Service and where it runs."""
    api = set()
    for policy in of_kind(environment, "NetworkPolicy"):
        for rule in policy["spec"].get("egress") or []:
            for peer in rule["to"]:
                block = peer.get("ipBlock", {})
                network = ipaddress.ip_network(block.get("cidr", "0.0.0.0/0"))
                if not network.is_private:
                    continue
                assert network.prefixlen >= 16, name_of(policy)
                if {443, 6443} & {port["port"] for port in rule["ports"]}:
                    api.add((network, tuple(port["port"] for port in rule["ports"])))
                    # Executors tell how a step ended; nobody else speaks to it.
                    assert policy["metadata"]["name"] == "steps-to-api"
                    chosen = policy["spec"]["podSelector"]["matchLabels"]
                    assert chosen == {"pipelines.kubeflow.org/v2_component": "true"}
    (service,) = [network for network, _ in api if network.prefixlen == 32]
    assert len(api) == 2
    if environment != "dev":
        code = (ROOT / "infra/terraform/modules/cluster/main.tf").read_text()
        (range_of,) = re.findall(r'service_ipv4_cidr = "(.*)"', code)
        # Kubernetes gives its own Service the first address.
        assert service.network_address == ipaddress.ip_network(range_of)[1]


def lets_in(environment, labels, sender, port):
    return any(
        port in [each["port"] for each in rule["ports"]]
        and any(
            "namespaceSelector" not in peer and selects(peer.get("podSelector", {}), sender)
            for peer in rule["from"]
        )
        for policy in policies_of(environment, labels, "Ingress")
        for rule in policy["spec"].get("ingress") or []
    )


@everywhere
def test_what_is_scraped_may_be_scraped(environment):
    monitors = [
        each
        for each in of_kind(environment, "ServiceMonitor", "PodMonitor")
        if "namespaceSelector" not in each["spec"]  # pods of others, whose networks are theirs
    ]
    assert len(monitors) == 3
    for monitor in monitors:
        selector = monitor["spec"]["selector"]
        (labels,) = [labels for _, labels, _ in pods(environment) if selects(selector, labels)]
        rules = [
            rule
            for policy in policies_of(environment, labels, "Ingress")
            for rule in policy["spec"].get("ingress") or []
            for peer in rule["from"]
            if peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name")
            == "prometheus"
        ]
        assert rules, name_of(monitor)
