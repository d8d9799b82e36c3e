"""``hpi batch --ray`` on two nodes: equal to ``predict``, with a node lost and the driver killed anywhere."""

import os
from functools import partial

import cv2
import pytest

from hpi import Predictor
from hpi.distributed.batch import run_batch
from hpi.distributed.job import Job
from hpi.distributed.local import TRIES
from hpi.errors import BackendError

from batch_rows import assert_same_rows, deadly_with_images, done, shared_pictures, start
from support import EXAMPLE, HANGS_S, LONG, ROOT, require, run_hpi, wait_until

pytest.importorskip("ray")
require("pyarrow")
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = [pytest.mark.cluster, pytest.mark.full]

LITE = "human_keypoint_detection_lite"
PICTURES = 2000 if LONG else 72
PARTS = 20
SAME = {"backend": "onnxruntime", "objective": "throughput", "threads": 1}
"""What actors run on is chosen for their threads, and two runtimes may round a flat heatmap to two places."""
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}


@pytest.fixture(scope="module")
def cluster(home):
    """Two nodes of a core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
        patch.setenv("RAY_health_check_period_ms", "500")  # so that a lost node is noticed soon
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        cluster.other = cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="module")
def pictures(shared, tmp_path_factory):
    """The shared pictures, made small and repeated."""
    folder = tmp_path_factory.mktemp("pictures")
    files = shared_pictures(shared)
    for number in range(PICTURES):
        if number < len(files):
            image = cv2.imread(str(files[number]))
            scale = 320 / max(image.shape)
            cv2.imwrite(str(folder / f"{number:05d}.png"), cv2.resize(image, None, fx=scale, fy=scale))
        else:
            (folder / f"{number:05d}.png").symlink_to(folder / f"{number % len(files):05d}.png")
    return folder


@pytest.fixture(scope="module")
def expected(pictures):
    """What ``predict`` finds in them."""
    with Predictor(LITE, **SAME) as predictor:
        return list(predictor.predict(str(pictures)))


@pytest.fixture
def arguments(cluster, pictures, tmp_path):
    size = str(-(-PICTURES // PARTS))
    options = [text for name, value in SAME.items() for text in (f"--{name}", str(value))]
    output = str(tmp_path / "out")
    return [str(pictures), "--output", output, "--part_size", size, "--ray", cluster.address, *options]


def test_the_rows_of_two_nodes_are_those_of_predict(arguments, expected, tmp_path):
    run = run_hpi("batch", *arguments, "--quiet", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert_same_rows(tmp_path / "out", expected)


def test_a_part_that_kills_its_actor_is_given_up(cluster, tmp_path):
    job = Job((str(EXAMPLE),), str(tmp_path / "out"), partial(opens_in_the_driver, os.getpid()), ray=cluster.address)
    (failure,) = run_batch(job).failures
    assert failure.failure == f"its actor was lost {TRIES} times; is there enough memory?"


def opens_in_the_driver(driver, **options):
    """A predictor that kills each process but that of the driver when it sees images."""
    return Predictor(LITE, **options) if os.getpid() == driver else deadly_with_images(LITE, **options)


def test_models_that_nodes_cannot_open_end_the_batch(cluster, tmp_path):
    job = Job((str(EXAMPLE),), str(tmp_path / "out"), partial(only_here, os.getpid()), ray=cluster.address)
    with pytest.raises(BackendError, match=r"^--ray .*BackendError: no runtime on this node$"):
        run_batch(job)


def only_here(driver, **options):
    """A predictor that opens in the driver only."""
    if os.getpid() != driver:
        raise BackendError("no runtime on this node")
    return Predictor(LITE, **options)


def test_a_killed_driver_and_a_lost_node_lose_no_row(cluster, arguments, expected, tmp_path, rng):
    """The driver is killed at one point and the batch resumed; a node is killed at another."""
    output = tmp_path / "out"
    first, second = sorted(map(int, rng.choice(range(1, PARTS - 2), 2, replace=False)))
    process = start(*arguments, cwd=tmp_path)
    wait_until(lambda: len(done(output)) >= first, f"{first} parts")
    process.kill()
    process.communicate(timeout=HANGS_S)
    before = done(output)
    process = start(*arguments, cwd=tmp_path)
    wait_until(
        lambda: len(done(output)) >= max(second, len(before) + 1) or process.poll() is not None,
        f"{second} parts",
    )
    cluster.remove_node(cluster.other, allow_graceful=False)
    _, errors = process.communicate(timeout=HANGS_S + PICTURES)
    print(f"the driver was killed at {len(before)} parts, the node at {second}", errors)
    assert process.returncode == 0, errors
    assert_same_rows(output, expected)
