"""An address that cannot be bound is reported before any work, and a service frees its address when it stops."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from hpi.errors import HpiError
from hpi.serving.listening import bind, close

from support import HANGS_S, quick_first, run_hpi, run_python, wait_until

# Opening a Predictor ends the process.
NO_MODELS = """
import hpi.serving.run
def open_models(*_, **__):
    raise SystemExit("the models were opened")
hpi.serving.run.Predictor = open_models
from hpi.cli import main
main()
"""


@pytest.fixture
def busy():
    """A port of 127.0.0.1 in use."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.full
@pytest.mark.parametrize("arguments", quick_first([["serve"], ["serve", "--workers", "2"], ["--serve"]]))
def test_a_port_in_use_is_reported_before_models_are_opened(busy, tmp_path, arguments):
    done = run_python("-c", NO_MODELS, *arguments, "--port", str(busy), cwd=tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: 127.0.0.1:{busy} is in use; stop the process that listens there, or choose another port\n"
    )


@pytest.mark.parametrize(
    ("host", "fragment"),
    [
        ("192.0.2.1", "192.0.2.1:8080 is not an address of this machine; set --host to one that is"),
        ("2001:db8::1", "[2001:db8::1]:8080"),
        ("no-such-host.invalid", "no-such-host.invalid: no such host"),
        ("a" * 70, "no such host"),
        ("256.1.1.1", "256.1.1.1: no such host"),
    ],
)
def test_an_address_of_another_machine_is_reported(host, fragment):
    with pytest.raises(HpiError) as caught:
        bind(host, 8080)
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.full
def test_the_command_reports_a_wrong_host_in_one_line(tmp_path):
    done = run_python("-c", NO_MODELS, "serve", "--host", "192.0.2.1", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_a_port_reserved_for_root_is_reported(tmp_path):
    first = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if not first.is_file() or int(first.read_text()) <= 1:
        pytest.skip("every port is free to every user here")
    code = """
import encodings.idna, os
from hpi.serving.listening import bind
if os.geteuid() == 0:
    os.setuid(65534)
bind("127.0.0.1", 1)
"""
    done = run_python("-c", code, cwd=tmp_path)
    message = "127.0.0.1:1 is not permitted for this user; choose a port of 1024 or above"
    assert any(line.endswith(message) for line in done.stderr.splitlines())


def test_a_host_name_is_bound_at_each_of_its_addresses():
    found = {one[4][0] for one in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    bound = bind("localhost", 0)
    assert {one.getsockname()[0] for one in bound} <= found
    assert "127.0.0.1" in {one.getsockname()[0] for one in bound}
    close(bound)


def test_a_bound_port_refuses_clients_and_other_servers():
    (bound,) = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    close([bound])


def answers(url):
    try:
        return httpx.get(url).status_code == 200
    except httpx.ConnectError:
        return False


@pytest.mark.full
def test_of_two_services_on_one_port_the_second_ends(home, tmp_path, free_port):
    """Both bind the address before either listens."""
    command = [sys.executable, "-m", "hpi", "serve", "--device", "cpu", "--port", str(free_port)]
    both = [subprocess.Popen(command, cwd=tmp_path, env=os.environ, stderr=subprocess.PIPE) for _ in range(2)]
    try:
        wait_until(lambda: any(one.poll() is not None for one in both), "one of them ends")
        (loser,) = [one for one in both if one.poll() is not None]
        assert loser.returncode == 1
        assert b"is in use" in loser.stderr.read().splitlines()[-1]
        wait_until(lambda: answers(f"http://127.0.0.1:{free_port}/health"), "the other one serves")
    finally:
        for one in both:
            one.terminate()
            one.wait(HANGS_S)
            one.stderr.close()


@pytest.mark.full
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_can_bind_the_port_of_a_stopped_one(start_service, workers, tmp_path):
    """Closed connections linger on the port for a while."""
    service = start_service("--workers", workers)
    port = urlsplit(service.url).port
    assert httpx.get(f"{service.url}/health").status_code == 200
    service.process.terminate()
    service.process.wait(HANGS_S)
    assert f"127.0.0.1:{port}" in service.log.read_text()
    close(bind("127.0.0.1", port))


@pytest.mark.full
def test_the_port_is_freed_if_a_model_cannot_be_served(tmp_path, free_port):
    done = run_hpi("serve", "--device", "npu:0", "--port", str(free_port), cwd=tmp_path)
    assert done.returncode == 1
    assert "not built for npu" in done.stderr
    close(bind("127.0.0.1", free_port))
