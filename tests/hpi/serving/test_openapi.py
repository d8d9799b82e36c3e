"""/openapi.json describes what the service does."""

import importlib.util
import os
import secrets
import subprocess
import sys

import httpx
import pytest

from odd_requests import JPEG, PNG

ROUTE = "/human-keypoint-detection"
MODEL = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")

# Bodies of these types are images at times, not noise alone.
HOOKS = """
from pathlib import Path
import schemathesis
from hypothesis import strategies
image = strategies.just(Path(__file__).with_name("image.png").read_bytes())
for name in ("image/png", "image/jpeg", "application/octet-stream"):
    schemathesis.openapi.media_type(name, strategies.one_of(image, strategies.binary(max_size=200)))
"""
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,unsupported_method,allow_header_conformance"
)


@pytest.fixture(scope="module")
def paths(service):
    return httpx.get(f"{service.url}/openapi.json").json()["paths"]


def test_every_route_is_listed_with_its_methods(paths):
    own, ready = ("/health", "/ready", "/metrics", "/info"), ("/v2", "/v2/health/live", "/v2/health/ready")
    states = [*own, *ready, *MODEL, *(f"{model}/ready" for model in MODEL)]
    expected = {path: {"get", "head"} for path in states} | {f"{model}/infer": {"post"} for model in MODEL}
    assert {path: set(methods) for path, methods in paths.items()} == {ROUTE: {"post"}, **expected}
    names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def filled(path):
    """A path with the model that there is."""
    return path.replace("{name}", "human_keypoint_detection_lite").replace("{version}", "1")


def test_get_answers_with_the_documented_type(service, paths):
    for path, methods in paths.items():
        if "get" in methods:
            answer = httpx.get(f"{service.url}{filled(path)}")
            (documented,) = methods["get"]["responses"]["200"]["content"]
            assert answer.headers["content-type"].startswith(documented)
            assert "content" not in methods["head"]["responses"]["200"]
    assert "text/plain; version=0.0.4" in paths["/metrics"]["get"]["responses"]["200"]["content"]


def test_bodies_and_statuses_of_a_request(service, paths):
    operation = paths[ROUTE]["post"]
    forms = {"application/json", "multipart/form-data", "image/jpeg", "image/png", "application/octet-stream"}
    assert set(operation["requestBody"]["content"]) == forms
    assert set(operation["responses"]) == {"200", "401", "408", "413", "415", "422", "500", "503", "504"}
    for documented in operation["responses"].values():
        assert set(documented["content"]) == {"application/json"}


def test_its_example_requests_are_served(service, paths):
    examples = paths[ROUTE]["post"]["requestBody"]["content"]["application/json"]["examples"]
    answer = httpx.post(service.route, json=examples["base64"]["value"])
    assert (answer.status_code, answer.json()["result"]) == (200, {"persons": []})
    infer = f"{MODEL[0]}/infer"
    example = paths[infer]["post"]["requestBody"]["content"]["application/json"]["examples"]["numbers"]["value"]
    assert httpx.post(f"{service.url}{filled(infer)}", json=example).json()["outputs"][0]["shape"] == [0, 4]


@pytest.mark.full
def test_schemathesis_finds_nothing_undocumented(service, tmp_path):
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("schemathesis is not installed")
    (tmp_path / "image.png").write_bytes(PNG)
    (tmp_path / "hooks.py").write_text(HOOKS)
    seed = os.environ.get("HPI_TEST_SEED") or secrets.randbits(32)
    print(f"HPI_TEST_SEED={seed}")
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"]
    options = ["--checks", CHECKS, "--max-examples", "60", "--seed", str(seed), "--phases", "examples,coverage,fuzzing"]
    patience = ["--request-timeout", "60", "--request-retries", "2"]  # a connection may be closed while it is idle
    done = subprocess.run(
        [*command, f"{service.url}/openapi.json", *options, *patience],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    print(*(line[:300] for line in done.stdout.splitlines()), sep="\n")
    assert done.returncode == 0, done.stderr
    assert "25 selected / 25 total" in done.stdout
    answer = httpx.post(service.route, content=JPEG, headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 200
