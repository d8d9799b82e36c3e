"""``hpi batch`` in processes: equal to ``predict``, and killed anywhere without a row lost or doubled."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from hpi.distributed.job import Job, Part
from hpi.distributed.local import TRIES, run_parts
from hpi.distributed.shards import IMAGES, PEOPLE
from hpi.errors import BackendError

from batch_rows import (
    assert_same_rows,
    deadly,
    deadly_with_images,
    done,
    failing_with_images,
    rows_of,
    shared_pictures,
    start,
)
from support import EXAMPLE, HANGS_S, require, run_hpi, wait_until

require("pyarrow")
pytestmark = pytest.mark.full

LITE = "human_keypoint_detection_lite"


@pytest.fixture
def pictures(shared, tmp_path):
    """72 pictures, each of its own name."""
    folder = tmp_path / "pictures"
    files = shared_pictures(shared)
    for number in range(2):
        (folder / f"{number}").mkdir(parents=True)
        for file in files:
            (folder / f"{number}" / file.name).symlink_to(file)
    return folder


def workers_of(process):
    """The processes that do parts."""
    found = []
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        try:
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
        except OSError:
            pass
    return found


def test_the_rows_are_those_of_predict(pictures, lite, tmp_path):
    (pictures / "0" / "empty.jpg").touch()
    run = run_hpi("batch", pictures, "--output", "out", "--processes", "2", "--quiet", cwd=tmp_path)
    assert run.returncode == 1
    assert run.stderr.count("the file is empty") == 1
    assert_same_rows(tmp_path / "out", lite.predict(str(pictures), on_error=lambda _: None))
    images = rows_of(tmp_path / "out", IMAGES)
    assert len(images) == 73 and sum(row["status"] == "error" for row in images) == 1
    again = run_hpi("batch", pictures, "--output", "out", cwd=tmp_path)
    assert again.returncode == 1 and "3 of 3 parts by earlier runs" in again.stdout
    other = run_hpi("batch", pictures, "--output", "out", "--tracker", "none", cwd=tmp_path)
    assert other.returncode == 2 and "tracker was 'auto', and is None" in other.stderr


def test_a_killed_batch_goes_on(pictures, lite, tmp_path, rng):
    """The driver is killed at one point, a worker at another; the rest is done by one process."""
    output = tmp_path / "out"
    arguments = (pictures, "--output", output, "--part_size", "6", "--processes", "2")
    first, second = sorted(rng.choice(range(1, 8), 2, replace=False))  # 5 of 12 parts are left at the least
    process = start(*arguments, cwd=tmp_path)
    wait_until(lambda: len(done(output)) >= first, f"{first} parts")
    victims = workers_of(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=HANGS_S)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in victims), "the workers end by themselves")
    before = done(output)
    process = start(*arguments, cwd=tmp_path)
    wait_until(lambda: len(done(output)) >= max(second, len(before) + 1), f"{second} parts")
    os.kill(workers_of(process)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=HANGS_S)
    assert process.returncode == 0, errors
    assert before.items() <= done(output).items(), "what was done is not done again"
    assert len(done(output)) == 12
    assert not list(output.rglob(".*.part"))
    assert_same_rows(output, lite.predict(str(pictures)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_says_how_to_go_on(number, pictures, tmp_path):
    # Far more than are done before it is interrupted.
    output, files = tmp_path / "out", 20 * sorted(pictures.rglob("*.*"))
    (tmp_path / "list.txt").write_text("".join(f"{file}\n" for file in files))
    process = start("@list.txt", "--output", output, "--part_size", "2", cwd=tmp_path)
    wait_until(lambda: done(output), "a part")
    victims = workers_of(process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=HANGS_S)
    assert process.returncode == 128 + number
    assert "of 1440 files are done; the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert not any(Path(f"/proc/{pid}").exists() for pid in victims)
    assert not list(output.rglob(".*.part"))


def test_people_in_videos_are_followed(shared, lite, tmp_path):
    import av

    with av.open(str(shared / "data" / "vtest.avi")) as video, av.open(str(tmp_path / "clip.mp4"), "w") as clip:
        stream = clip.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 768, 576, "yuv420p"
        for frame, _ in zip(video.decode(video=0), range(20), strict=False):
            frame.pts = None
            clip.mux(stream.encode(frame))
        clip.mux(stream.encode())
    (tmp_path / "no.mp4").write_bytes(b"no video")
    run = run_hpi("batch", "clip.mp4", "no.mp4", EXAMPLE, "--output", "out", "--det_every", "2", cwd=tmp_path)
    assert run.returncode == 1 and "no.mp4: not a video" in run.stderr
    people, images = (rows_of(tmp_path / "out", table) for table in (PEOPLE, IMAGES))
    results = [*lite.stream(str(tmp_path / "clip.mp4"), det_every=2)]
    found = [row for row in people if row["file"].endswith("clip.mp4")]
    assert [row["track_id"] for row in found] == [
        None if one == -1 else one for result in results for one in result.track_ids.tolist()
    ]
    assert [row["time_s"] for row in found] == [result.frame.time_s for result in results for _ in result.instances]
    frames = [row for row in images if row["file"].endswith("clip.mp4")]
    assert [row["people"] for row in frames] == [len(result.instances) for result in results]
    assert len(people) - len(found) == 2


def outcome(predictor, tmp_path, files=(str(EXAMPLE),)):
    return [*run_parts(Job(files, str(tmp_path / "out"), predictor, processes=1), [Part(0, files), Part(1, files)])]


def test_a_part_that_kills_its_process_is_given_up(tmp_path, caplog):
    first, second = outcome(partial(deadly_with_images, LITE), tmp_path)
    assert (first.number, second.number) == (0, 1)
    assert first.failure == "a process was ended by SIGKILL"
    assert caplog.text.count("is done again") == 2 * (TRIES - 1)


def test_a_part_that_fails_is_given_up(tmp_path):
    first, second = outcome(partial(failing_with_images, LITE), tmp_path)
    assert first.failure.startswith("TypeError")
    assert second.files == 1


def test_processes_that_die_at_their_start_end_the_batch(tmp_path):
    with pytest.raises(BackendError, match="ended by SIGKILL, 3 times, while it opened the models; is there enough"):
        outcome(partial(deadly), tmp_path)
