"""An address that cannot be had is told before the work, and the address of a service can be had again at once."""

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

# A Predictor that is opened would be seen.
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
    """A port of 127.0.0.1 that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize("arguments", quick_first([["serve"], ["serve", "--workers", "2"], ["--serve"]]))
def test_a_port_in_use_is_told_before_the_models_are_opened(busy, tmp_path, arguments):
    done = run_python("-c", NO_MODELS, *arguments, "--port", str(busy), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"error: 127.0.0.1:{busy} is in use; stop what listens there, or choose another --port\n"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "192.0.2.1:8080 is no address of this machine; give --host one that is"),
        ("2001:db8::1", "[2001:db8::1]:8080"),
        ("no-such-host.invalid", "no-such-host.invalid: no such host"),
        ("a" * 70, "no such host"),
        ("256.1.1.1", "256.1.1.1: no such host"),
    ],
)
def test_so_is_an_address_that_is_not_here(host, said):
    with pytest.raises(HpiError) as caught:
        bind(host, 8080)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_so_is_a_host_on_the_command_line(tmp_path):
    done = run_python("-c", NO_MODELS, "serve", "--host", "192.0.2.1", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_so_is_a_port_that_only_root_may_use(tmp_path):
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
    last = done.stderr.splitlines()[-1]
    assert last.endswith("127.0.0.1:1 may not be used by this user; choose a --port from 1024 on")


def test_a_host_name_is_taken_at_each_of_its_addresses():
    found = {one[4][0] for one in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    taken = bind("localhost", 0)
    assert {one.getsockname()[0] for one in taken} <= found
    assert "127.0.0.1" in {one.getsockname()[0] for one in taken}
    close(taken)


def test_while_the_models_are_loaded_clients_are_refused_and_the_port_is_kept():
    (taken,) = bind("127.0.0.1", 0)
    port = taken.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    close([taken])


def answers(url):
    try:
        return httpx.get(url).status_code == 200
    except httpx.ConnectError:
        return False


@pytest.mark.full
def test_of_two_services_at_once_one_serves_and_the_other_says_why_not(home, tmp_path, free_port):
    """Both take the address before either listens."""
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
def test_a_service_can_take_the_port_of_the_one_before(start_service, workers, tmp_path):
    """Connections that it closed linger on the port for a while."""
    service = start_service("--workers", workers)
    port = urlsplit(service.url).port
    assert httpx.get(f"{service.url}/health").status_code == 200
    service.process.terminate()
    service.process.wait(HANGS_S)
    assert f"127.0.0.1:{port}" in service.log.read_text()
    close(bind("127.0.0.1", port))


@pytest.mark.full
def test_a_model_that_cannot_be_served_gives_the_port_back(tmp_path, free_port):
    done = run_hpi("serve", "--device", "npu:0", "--port", str(free_port), cwd=tmp_path)
    assert done.returncode == 1
    assert "not built for npu" in done.stderr
    close(bind("127.0.0.1", free_port))
