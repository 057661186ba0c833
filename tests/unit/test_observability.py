"""What operators watch with: alerts, runbook, dashboard and metrics say the same names."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
import yaml

from gateway.errors import ErrorCode
from gateway.metrics import Metrics
from tests.support.markdown import blocks, headings, section
from tests.support.promql import Selector, grouped_by, selectors

FOLDER = Path(__file__).parents[2] / "deploy" / "observability"
RUNBOOK = (FOLDER / "runbook.md").read_text("utf-8")
URL = "https://github.com/oidc-gateway/oidc-gateway/blob/main/deploy/observability/runbook.md#"
#: What Prometheus itself adds to every series.
OF_PROMETHEUS = {"job", "instance"}
PROCESS = {
    f"process_{name}"
    for name in (
        "cpu_seconds_total",
        "max_fds",
        "open_fds",
        "resident_memory_bytes",
        "start_time_seconds",
        "virtual_memory_bytes",
    )
}

Alert = Mapping[str, object]


def alerts() -> list[Alert]:
    document = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    for alert in alerts():
        yield str(alert["alert"]), str(alert["expr"])
    dashboard = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def known() -> dict[str, set[str]]:
    """Every metric of the code and its labels."""
    ours = {
        name: {*labels} | ({"le"} if kind == "histogram" else set())
        for name, (kind, labels) in Metrics().shapes.items()
    }
    return {**ours, **{name: set() for name in PROCESS}, "up": set()}


ALERTS = alerts()
QUERIES = list(queries())
EACH_ALERT = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
EACH_QUERY = pytest.mark.parametrize(
    "query", [text for _, text in QUERIES], ids=[name for name, _ in QUERIES]
)


@EACH_QUERY
def test_every_query_reads_metrics_and_labels_that_exist(query: str) -> None:
    labels = known()

    found = selectors(query)

    assert found != ()
    assert [one.name for one in found if one.name not in labels] == []
    assert [one for one in found if one.labels - labels[one.name] - OF_PROMETHEUS] == []
    assert grouped_by(query) - OF_PROMETHEUS <= set().union(*(labels[one.name] for one in found))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('rate(oidc_gateway_http_requests_total{status=~"5..", odd="{x}"}[5m])', {"status", "odd"}),
        ("oidc_gateway_http_requests_total == 0", set()),
    ],
)
def test_the_reader_of_queries_sees_what_they_name(query: str, found: set[str]) -> None:
    assert selectors(query) == (Selector(name="oidc_gateway_http_requests_total", labels=frozenset(found)),)


def test_the_reader_of_queries_sees_what_they_group_by() -> None:
    assert grouped_by("sum by (job, le) (x) / on (instance) group_left (y) z") == {
        "job",
        "le",
        "instance",
        "y",
    }


@EACH_QUERY
def test_every_code_that_a_query_looks_for_exists(query: str) -> None:
    named = {code for text in re.findall(r'code=~?"([^"]*)"', query) for code in text.split("|")}

    assert named - set(ErrorCode) - {"allowed"} == set()


def test_every_metric_is_shown_on_the_dashboard() -> None:
    dashboard = (FOLDER / "dashboard.json").read_text("utf-8")
    shown = {one.name for query in json_texts(dashboard) for one in selectors(query)}

    # Of these ours are shown, which several workers have too.
    theirs = {
        f"process_{name}" for name in ("start_time_seconds", "virtual_memory_bytes", "open_fds", "max_fds")
    }
    missing = set(known()) - shown - theirs - {"up"}
    assert missing == set(), "give it a panel in deploy/observability/dashboard.json"


def json_texts(document: str) -> set[str]:
    return {target["expr"] for panel in json.loads(document)["panels"] for target in panel.get("targets", ())}


@EACH_ALERT
def test_every_alert_says_how_grave_it_is_and_what_happened(alert: Alert) -> None:
    told = cast(Mapping[str, str], alert["annotations"])

    assert cast(Mapping[str, str], alert["labels"])["severity"] in ("critical", "warning", "info")
    assert told["summary"]
    assert told["description"].endswith(".")
    assert told["runbook_url"] == URL + str(alert["alert"]).lower()


@EACH_ALERT
def test_every_alert_has_a_section_of_the_runbook_with_a_first_look(alert: Alert) -> None:
    text = section(RUNBOOK, str(alert["alert"]))

    assert list(blocks(text, "sh")) != []
    assert "Likely causes:" in text


def test_every_section_of_the_runbook_is_about_an_alert() -> None:
    sections = [title for title in headings(RUNBOOK) if title != "Runbook"]

    assert sections == [alert["alert"] for alert in ALERTS]


def test_every_alert_is_tested() -> None:
    tests = yaml.safe_load((FOLDER / "alerts.test.yaml").read_text("utf-8"))["tests"]

    assert list(dict.fromkeys(test["name"] for test in tests)) == [alert["alert"] for alert in ALERTS]
    assert [[len(case["exp_samples"]) for case in test["promql_expr_test"]] for test in tests] == [
        [0, 1] for _ in tests
    ]


def test_every_panel_of_the_dashboard_has_a_place_of_its_own() -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))["panels"]

    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_the_rules_of_the_operator_are_the_same_file_two_levels_deeper() -> None:
    text = (FOLDER / "alerts.yaml").read_text("utf-8")
    head = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec:\n"

    made = yaml.safe_load(head + re.sub(r"(?m)^", "  ", text))

    assert made["spec"] == yaml.safe_load(text)
