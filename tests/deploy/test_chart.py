"""The Helm chart: what it renders is right for Kubernetes, and what a pod runs is right for ``hpi serve``.

No cluster runs here. The container is a process in a mount namespace whose files are all read-only.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys

import httpx
import pytest
import yaml

from support import EXAMPLE, HANGS_S, ROOT, free_port, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.full]

CHART = ROOT / "deploy" / "helm" / "hpi"
GPU = yaml.safe_load((CHART / "values-gpu.yaml").read_text())
EVERYTHING = {
    "token": {"value": "secret"},
    "autoscaling": {"enabled": True, "cpuPercent": 80},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "alerts": {"enabled": True},
    "dashboard": {"enabled": True},
    "otlp": "http://collector:4318",
    "extraArgs": ["--max_batch", "16"],
    "extraEnv": [{"name": "OTEL_TRACES_SAMPLER", "value": "parentbased_traceidratio"}],
    "extraVolumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}],
    "extraVolumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    "cache": {"volume": {"persistentVolumeClaim": {"claimName": "hpi"}}},
    "imagePullSecrets": [{"name": "registry"}],
    "podLabels": {"team": "vision"},
    "podAnnotations": {"note": "1"},
    "nodeSelector": {"pool": "cpu"},
    "affinity": {"nodeAffinity": {}},
    "runtimeClassName": "gvisor",
    "priorityClassName": "high",
}
VALUES = {"defaults": {}, "GPU": GPU, "everything": EVERYTHING}
CUSTOM = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator, whose schemas no package has."""


class ChartError(Exception):
    """The chart refuses the values."""


def rendered_by_sdk(values):
    import helm_python

    with helm_python.Chart.load(CHART) as chart:
        try:
            chart.validate_schema(values)
            return chart.render(values, name="pose", namespace="vision").values()
        except helm_python.HelmError as error:
            raise ChartError(str(error)) from error


def rendered_by_helm(values):
    command = ["helm", "template", "pose", CHART, "--namespace", "vision", "--values", "-"]
    done = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartError(done.stderr)
    return [done.stdout]


@pytest.fixture(scope="module")
def manifests():
    """A function from values to what they render to: by kind, which is there once."""
    try:
        rendered_by_sdk({})
        renderer = rendered_by_sdk
    except Exception as error:  # noqa: BLE001 - not installed, or not for this machine
        if shutil.which("helm") is None:
            pytest.skip(f"helm-python-sdk does not render ({error}), and there is no helm")
        renderer = rendered_by_helm

    def render(values):
        texts = [text for text in renderer(values) if "apiVersion:" in text]
        documents = [document for text in texts for document in yaml.safe_load_all(text) if document]
        by_kind = {document["kind"]: document for document in documents}
        assert len(by_kind) == len(documents)
        return by_kind

    return render


def container(manifests):
    (only,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    return only


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_kubernetes_takes_what_it_renders(manifests, values):
    validator = pytest.importorskip("kubernetes_validate")
    rendered = manifests(values)
    for version in ("1.30", validator.latest_version()):
        for kind in rendered.keys() - CUSTOM:
            validator.validate(rendered[kind], version, strict=True)
    usual = {"Deployment", "Service", "PodDisruptionBudget"}
    more = {"HorizontalPodAutoscaler", "Secret", "ConfigMap", *CUSTOM} if values is EVERYTHING else set()
    assert rendered.keys() == usual | more


def test_what_belongs_together_has_the_same_labels(manifests):
    rendered = manifests(EVERYTHING)
    labels = {"app.kubernetes.io/name": "hpi", "app.kubernetes.io/instance": "pose"}
    assert rendered["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert labels.items() <= rendered["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert rendered["Service"]["spec"]["selector"] == labels
    assert rendered["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert rendered["ServiceMonitor"]["spec"]["selector"]["matchLabels"] == labels
    assert labels.items() <= rendered["Service"]["metadata"]["labels"].items()
    (port,) = rendered["Service"]["spec"]["ports"]
    (of_container,) = container(rendered)["ports"]
    assert port["name"] == port["targetPort"] == of_container["name"] == "http"


def test_prometheus_scrapes_with_the_token_of_the_secret(manifests):
    rendered = manifests(EVERYTHING)
    secret = rendered["Secret"]
    reference = {"name": secret["metadata"]["name"], "key": "token"}
    (endpoint,) = rendered["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint == {
        "port": "http",
        "path": "/metrics",
        "interval": "15s",
        "authorization": {"type": "Bearer", "credentials": reference},
    }
    assert rendered["ServiceMonitor"]["metadata"]["labels"]["release"] == "prometheus"
    (variable,) = (one for one in container(rendered)["env"] if one["name"] == "HPI_TOKEN")
    assert variable["valueFrom"] == {"secretKeyRef": reference}
    assert list(secret["data"]) == ["token"]
    named = manifests({"token": {"existingSecret": "mine", "key": "bearer"}, "serviceMonitor": {"enabled": True}})
    assert "Secret" not in named
    (endpoint,) = named["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "mine", "key": "bearer"}
    (endpoint,) = manifests({"serviceMonitor": {"enabled": True}})["ServiceMonitor"]["spec"]["endpoints"]
    assert "authorization" not in endpoint


def test_alerts_and_dashboard_are_those_of_the_files(manifests):
    rendered = manifests(EVERYTHING)
    assert rendered["PrometheusRule"]["spec"] == yaml.safe_load((CHART / "monitoring" / "alerts.yaml").read_text())
    data = rendered["ConfigMap"]["data"]
    assert yaml.safe_load(data["hpi.json"]) == yaml.safe_load((CHART / "monitoring" / "dashboard.json").read_text())


def test_it_scales_by_the_queue_or_by_the_cpu(manifests):
    def metrics(**values):
        rendered = manifests({"autoscaling": {"enabled": True, **values}})
        assert "replicas" not in rendered["Deployment"]["spec"], "they are the autoscaler's"
        assert rendered["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "pose-hpi"
        return rendered["HorizontalPodAutoscaler"]["spec"]["metrics"]

    adapter = yaml.safe_load((CHART.parent / "prometheus-adapter.yaml").read_text())["rules"]["custom"][0]
    (queue,) = metrics()
    assert queue["pods"]["metric"]["name"] == adapter["name"]["as"]
    assert queue["pods"]["target"] == {"type": "AverageValue", "averageValue": "4"}
    (cpu,) = metrics(queueDepth=None, cpuPercent=70)
    assert cpu["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert manifests({})["Deployment"]["spec"]["replicas"] == 2


def test_the_threads_follow_the_cpus(manifests):
    def source(resources):
        one = container(manifests({"resources": {"limits": None, "requests": None, **resources}}))
        threads = [variable for variable in one.get("env") or [] if variable["name"] == "HPI_THREADS"]
        assert ("--threads=$(HPI_THREADS)" in one["args"]) == bool(threads)
        return threads and threads[0]["valueFrom"]["resourceFieldRef"]

    assert source({"limits": {"cpu": "4"}}) == {"containerName": "hpi", "resource": "limits.cpu", "divisor": "1"}
    assert source({"requests": {"cpu": "4"}})["resource"] == "requests.cpu"
    assert not source({})


def test_a_gpu_pod_asks_for_a_gpu(manifests):
    one = container(manifests(GPU))
    assert one["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "--device=gpu" in one["args"]
    assert one["image"] == "hpi:gpu"


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_nothing_runs_as_root_or_writes_to_the_image(manifests, values):
    pod = manifests(values)["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    for one in [*pod["initContainers"], *pod["containers"]]:
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for one in pod["containers"] for mount in one["volumeMounts"]} == volumes
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in dockerfile
    places = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert f"HPI_HOME={places['cache']} " in dockerfile
    assert f"HOME={places['tmp']} " in dockerfile


def test_a_pod_has_the_time_that_its_requests_may_take(manifests):
    from hpi.serving.settings import Settings

    pod = manifests({})["Deployment"]["spec"]["template"]["spec"]
    drained = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] - drained > Settings().read_s + Settings().deadline_s


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"autoscaling": {"enabled": True, "queueDepth": None}}, "autoscaling"),
        ({"token": {"value": "a", "existingSecret": "b"}}, "token"),
        ({"replica": 3}, "replica"),
        ({"replicas": 0}, "replicas"),
        ({"otlp": "collector:4318"}, "otlp"),
        ({"image": {"repository": ""}}, "repository"),
    ],
)
def test_wrong_values_are_refused(manifests, wrong, message):
    with pytest.raises(ChartError, match=message):
        manifests(wrong)


IN_READ_ONLY = """
set -eu
mount -t tmpfs tmpfs "$1"
mount -o remount,ro,bind /
if touch "$2/x" 2> /dev/null; then echo "$2 can be written" >&2; exit 1; fi
export TMPDIR="$1" HOME="$1" HPI_HOME="$1/hpi"
shift 2
exec "$@"
"""


def test_what_a_pod_runs_starts_with_read_only_files(manifests, tmp_path):
    """With the arguments, probes and scrape of the chart; only paths, address and cores differ."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare --mount is not allowed here")
    rendered = manifests({key: EVERYTHING[key] for key in ("token", "extraArgs", "serviceMonitor")})
    one, port = container(rendered), free_port()
    arguments = [argument.replace("$(HPI_THREADS)", "1") for argument in one["args"]]
    arguments += ["--host=127.0.0.1", f"--port={port}"]
    (tmp_path / "writable").mkdir()
    command = [
        "unshare", "--mount", "sh", "-c", IN_READ_ONLY, "sh", str(tmp_path / "writable"), str(tmp_path),
        sys.executable, "-m", "hpi", *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "HPI_TOKEN": "secret", "HPI_CALIBRATE": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    log = tmp_path / "log.txt"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANGS_S) as client:

            def status(probe):
                try:
                    return client.get(one[probe]["httpGet"]["path"]).status_code
                except httpx.TransportError:
                    assert process.poll() is None, f"{shlex.join(command)}\n{log.read_text()}"
                    return None

            wait_until(lambda: status("startupProbe") == 200, "it has started")
            assert status("livenessProbe") == status("readinessProbe") == 200
            (endpoint,) = rendered["ServiceMonitor"]["spec"]["endpoints"]
            assert client.get(endpoint["path"]).status_code == 401
            token = {"Authorization": "Bearer secret"}
            assert b"\nhpi_queue_depth 0.0\n" in client.get(endpoint["path"], headers=token).content
            assert {model["threads"] for model in client.get("/info").json()["models"]} == {1}
            image = EXAMPLE.read_bytes()
            answer = client.post(
                "/human-keypoint-detection", content=image, headers={"Content-Type": "image/png", **token}
            )
            assert len(answer.json()["result"]["persons"]) == 2
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANGS_S) == 0, log.read_text()
