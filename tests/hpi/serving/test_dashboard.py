"""The metrics of a running service are those that its documentation, the dashboard and the alerts name."""

import json
import re

import pytest
import yaml

from support import EXAMPLE, ROOT

MONITORING = ROOT / "deploy" / "helm" / "hpi" / "monitoring"
BY_PROMETHEUS = {"job", "instance", "le", "namespace", "pod"}
"""Labels that are not the service's."""


@pytest.fixture(scope="module")
def families(client, post):
    """The metrics of a service that has answered: name and labels, each as Prometheus reads them."""
    from prometheus_client.parser import text_string_to_metric_families

    assert post(content=EXAMPLE.read_bytes(), headers={"Content-Type": "image/png"}).status_code == 200
    families = text_string_to_metric_families(client.get("/metrics").text)
    return [family for family in families if not family.name.endswith("_created")]


def queries():
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    alerts = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    yield from (target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    yield from (rule["expr"] for group in alerts["groups"] for rule in group["rules"])


def test_the_documentation_has_every_metric(families):
    page = (ROOT / "docs" / "reference" / "http.md").read_text()
    documented = re.findall(r"^\| `(hpi_\w+)` \| (\w+)", page, re.MULTILINE)
    found = {(f"{one.name}_total" if one.type == "counter" else one.name, one.type) for one in families}
    assert set(documented) == found


def test_every_query_names_what_the_service_has(families):
    samples = {sample.name for family in families for sample in family.samples}
    samples.add("hpi_stream_frames_total")  # by code: there is none before the first frame
    for query in queries():
        assert set(re.findall(r"\bhpi_\w+", query)) <= samples, query


def test_every_query_groups_and_selects_by_labels_of_the_service(families):
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    routes = {sample.labels["route"] for family in families for sample in family.samples if "route" in sample.labels}
    for query in queries():
        grouped = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")}
        selected = set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', query))
        assert grouped | selected <= labels | BY_PROMETHEUS, query
    assert "/human-keypoint-detection" in routes


def test_every_stage_is_documented(families):
    page = (ROOT / "docs" / "reference" / "http.md").read_text()
    (line,) = (line for line in page.splitlines() if line.startswith("| `hpi_stage_seconds` |"))
    stages = {sample.labels["stage"] for family in families for sample in family.samples if "stage" in sample.labels}
    assert {"decode", "queue", "infer", "encode"} <= stages <= set(re.findall(r"`(\w+)`", line))
