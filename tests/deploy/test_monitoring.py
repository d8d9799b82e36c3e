"""What Prometheus and Grafana get: names that the service has, queries that can be read, files that are there."""

import json
import re

import pytest
import yaml

from support import ROOT

COMPOSE = ROOT / "deploy" / "compose"
MONITORING = ROOT / "deploy" / "helm" / "hpi" / "monitoring"


def load(path):
    return yaml.safe_load(path.read_text())


def dashboard():
    return json.loads((MONITORING / "dashboard.json").read_text())


def alerts():
    return [rule for group in load(MONITORING / "alerts.yaml")["groups"] for rule in group["rules"]]


def queries():
    """Each expression of the dashboard and the alerts, and what the autoscaler reads."""
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (rule["expr"] for rule in alerts())
    yield load(ROOT / "deploy" / "helm" / "prometheus-adapter.yaml")["rules"]["custom"][0]["seriesQuery"]


def test_every_metric_is_one_of_the_service():
    """By the documentation of the service, which tests/hpi/serving/test_dashboard.py compares with ``/metrics``."""
    documented = set(re.findall(r"^\| `(hpi_\w+)` \|", (ROOT / "docs/reference/http.md").read_text(), re.MULTILINE))
    used = {re.sub(r"_(bucket|sum|count)$", "", name) for text in queries() for name in re.findall(r"\bhpi_\w+", text)}
    assert used == documented


def test_the_queries_can_be_read():
    promql = pytest.importorskip("promql_parser")
    for text in queries():
        promql.parse(text.replace("$__rate_interval", "1m"))


def test_the_dashboard_is_whole():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    names = {variable["name"] for variable in dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", (MONITORING / "dashboard.json").read_text()))
    assert used - {"__rate_interval", "__all"} == names
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells), "panels lie on each other"
    assert max(x for x, _ in cells) < 24


def test_an_alert_says_what_it_is_about():
    for rule in alerts():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}


@pytest.mark.full
@pytest.mark.parametrize("name", ["compose.yaml", "gpu.yaml"])
def test_the_compose_file_follows_its_schema(name):
    schemas = pytest.importorskip("check_jsonschema.builtin_schemas")
    import jsonschema

    jsonschema.validate(load(COMPOSE / name), schemas.get_builtin_schema("vendor.compose-spec"))


def test_what_compose_mounts_is_there():
    services = load(COMPOSE / "compose.yaml")["services"]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    files = [COMPOSE / path for path in mounted if path.startswith(".")]
    assert len(files) == 5
    assert all(file.is_file() for file in files)
    build = services["hpi"]["build"]
    assert (COMPOSE / build["context"] / build["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service["ports"])


def test_prometheus_reads_the_service_with_its_token():
    compose, (job,) = load(COMPOSE / "compose.yaml"), load(COMPOSE / "prometheus.yaml")["scrape_configs"]
    assert compose["secrets"] == {"token": {"environment": "HPI_TOKEN"}}
    assert job["authorization"] == {"type": "Bearer", "credentials_file": "/run/secrets/token"}
    assert job["static_configs"] == [{"targets": ["hpi:8080"]}]
    (source,) = load(COMPOSE / "grafana" / "sources.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
