"""Ways in: every door that a NetworkPolicy leaves to the Gateway has a route, and no other has."""

from __future__ import annotations

from typing import Any

import pytest
from platform_pods import EVENT_SOURCE_SERVICE
from rendered import OVERLAYS, name_of, of_kind, pods, selects

pytestmark = pytest.mark.may_skip

everywhere = pytest.mark.parametrize("environment", OVERLAYS)
PROXIES = {"kubernetes.io/metadata.name": "envoy-gateway-system"}
# KServe makes the routes of model servers itself.
OTHERS = {
    ("serving.kserve.io/inferenceservice", 8080),
    ("serving.kserve.io/inferenceservice", 9000),
}


def services(environment: str) -> dict[tuple[str, int], tuple[dict[str, str], int]]:
    """Return labels and port of the pods behind each port of a Service."""
    found = {}
    for each in of_kind(environment, "Service"):
        selector = each["spec"]["selector"]
        (ports,) = [
            {port["name"]: port["containerPort"] for port in spec["containers"][0]["ports"]}
            for _, labels, spec in pods(environment)
            if selects({"matchLabels": selector}, labels) and "name" in each["spec"]["ports"][0]
        ] or [{}]
        for port in each["spec"]["ports"]:
            behind = ports.get(port.get("targetPort"), port["port"])
            found[each["metadata"]["name"], port["port"]] = (selector, behind)
    for each in of_kind(environment, "EventSource"):
        for port in each["spec"].get("service", {}).get("ports", []):
            name = each["metadata"]["name"]
            service = EVENT_SOURCE_SERVICE.format(name=name)
            found[service, port["port"]] = ({"eventsource-name": name}, port["targetPort"])
    return found


def routes(environment: str) -> list[dict[str, Any]]:
    return of_kind(environment, "HTTPRoute", "TLSRoute")


def reached(environment: str) -> list[tuple[dict[str, str], int]]:
    """Return labels and port of the pods that routes lead to."""
    known = services(environment)
    return [
        known[backend["name"], backend["port"]]
        for route in routes(environment)
        for rule in route["spec"]["rules"]
        for backend in rule["backendRefs"]
    ]


def doors(environment: str) -> list[tuple[dict[str, Any], int]]:
    """Return pods and ports that policies leave open to the Gateway's proxies."""
    return [
        (policy["spec"]["podSelector"], port["port"])
        for policy in of_kind(environment, "NetworkPolicy")
        for rule in policy["spec"].get("ingress") or []
        for peer in rule["from"]
        if peer.get("namespaceSelector", {}).get("matchLabels") == PROXIES
        for port in rule["ports"]
    ]


@everywhere
def test_every_door_to_the_gateway_has_a_route(environment):
    ways = reached(environment)
    found = 0
    for selector, port in doors(environment):
        if {(key, port) for key in selector.get("matchLabels", {})} & OTHERS:
            continue
        assert any(selects(selector, labels) and port == at for labels, at in ways), selector
        found += 1
    assert found == 3


@everywhere
def test_every_route_leads_through_an_open_door(environment):
    open_doors = doors(environment)
    ways = reached(environment)
    assert len(ways) == 3
    for labels, port in ways:
        assert any(selects(selector, labels) and port == at for selector, at in open_doors), labels


@everywhere
def test_a_route_hangs_on_a_listener_that_takes_it(environment):
    (gateway,) = of_kind(environment, "Gateway")
    listeners = {each["name"]: each for each in gateway["spec"]["listeners"]}
    for route in routes(environment):
        (parent,) = route["spec"]["parentRefs"]
        assert parent["name"] == gateway["metadata"]["name"]
        listener = listeners.pop(parent["sectionName"])
        protocol, mode = {"HTTPRoute": ("HTTPS", "Terminate"), "TLSRoute": ("TLS", "Passthrough")}[
            route["kind"]
        ]
        assert (listener["protocol"], listener["tls"]["mode"]) == (protocol, mode)
        assert route["spec"]["hostnames"] == [listener["hostname"]], name_of(route)
        assert listener["allowedRoutes"]["namespaces"] == {"from": "Same"}
    assert not listeners, "nothing hangs on them"


@everywhere
def test_certificates_are_made_for_the_names_that_are_asked_for(environment):
    made = {
        each["spec"]["secretName"]: set(each["spec"]["dnsNames"])
        for each in of_kind(environment, "Certificate")
    }
    (gateway,) = of_kind(environment, "Gateway")
    for listener in gateway["spec"]["listeners"]:
        if listener["tls"]["mode"] == "Passthrough":
            assert listener["hostname"] in made["feature-server-tls"]  # the pod's own
            continue
        (secret,) = listener["tls"]["certificateRefs"]
        assert listener["hostname"] in made[secret["name"]]


@everywhere
def test_only_what_callers_need_is_routed(environment):
    """Figures and health are for the cluster."""
    taken = {
        (route["metadata"]["name"], match["path"]["type"], match["path"]["value"], match["method"])
        for route in of_kind(environment, "HTTPRoute")
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
    }
    assert taken == {("stream", "Exact", "/events", "POST"), ("ask", "Exact", "/ask", "POST")}
    (source,) = [
        each for each in of_kind(environment, "EventSource") if each["metadata"]["name"] == "asks"
    ]
    assert source["spec"]["webhook"]["ask"]["endpoint"] == "/ask"
