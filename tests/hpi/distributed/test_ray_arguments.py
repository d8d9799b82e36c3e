"""What Ray is asked for, without Ray."""

import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from hpi.cli.app import app
from hpi.distributed.job import Part, PartDone
from hpi.distributed.ray_cluster import _check_reachable, connected
from hpi.distributed.ray_data import _Actor
from hpi.errors import ConfigError, InputError
from hpi.io.validation import parse

pytest.importorskip("fastapi")
from hpi.distributed.serve_app import ServiceArguments


@pytest.mark.parametrize(
    ("fields", "fragment"),
    [
        ({}, "give pipeline or model"),
        ({"pipeline": "body", "model": "rtmo-m"}, "give pipeline or model"),
        ({"pipeline": "body", "replicas": 2, "max_replicas": 3}, "give replicas, or min_replicas and max_replicas"),
        ({"pipeline": "body", "min_replicas": 2}, "min_replicas needs max_replicas"),
        ({"pipeline": "body", "min_replicas": 3, "max_replicas": 2}, "max_replicas is less than min_replicas"),
        ({"pipeline": "body", "predictor": {"device": "gpu"}}, "device is gpu, but replicas have no GPU; set gpus"),
        ({"pipeline": "body", "cpu": 2}, "did you mean 'cpus'"),
        ({"pipeline": "body", "gpus": -1}, "gpus"),
    ],
)
def test_wrong_arguments_of_an_application_are_explained(fields, fragment):
    with pytest.raises(ConfigError, match=fragment):
        parse(ServiceArguments, fields, "args")


@pytest.mark.parametrize("error", [ConfigError("wrong"), InputError("the disk is full")])
def test_an_error_of_all_parts_is_the_answer_of_an_actor_at_once(error):
    answer, worker = answer_of(error)
    assert answer is error and worker.tries == 1


def test_an_actor_tries_a_part_three_times():
    failed, done = PartDone(0, 1, failure="a runtime failed"), PartDone(0, 1, images=1)
    assert answer_of(failed, failed, done)[0] == done
    assert answer_of(failed, failed, failed, done)[0] == failed


def answer_of(*outcomes):
    """What an actor answers whose worker has these outcomes, one a try; and the worker."""
    worker = SimpleNamespace(tries=0)

    def attempt(_):
        outcome = outcomes[worker.tries]
        worker.tries += 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    worker.attempt = attempt
    actor = object.__new__(_Actor)
    actor._worker = worker
    return actor._answer(Part(0, ("/a.jpg",))), worker


def test_a_missing_ray_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r'pip install "hpi-pose\[ray\]"'), connected():
        raise AssertionError


def test_a_missing_service_is_explained(monkeypatch):
    monkeypatch.delitem(sys.modules, "hpi.distributed.serve_app")
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "hpi.serving.app", raising=False)
    result = CliRunner().invoke(app, ["deploy", "ray"])
    assert result.exit_code == 2
    assert 'pip install "hpi-pose[ray]"' in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("address", "error", "reason"),
    [
        ("127.0.0.1:1", OSError, "refused"),
        ("ray://127.0.0.1:1", OSError, "refused"),
        ("head", ValueError, "host:port"),
        ("head:x", ValueError, "Port"),
    ],
)
def test_an_address_where_nobody_listens_is_found_at_once(address, error, reason):
    with pytest.raises(error, match=reason):
        _check_reachable(address, "127.0.0.1")
