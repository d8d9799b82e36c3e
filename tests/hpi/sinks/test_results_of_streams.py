"""JSON lines, COCO, tables and OpenPose's files of a stream; what is read back, cut off and gone on with."""

import json
from contextlib import closing

import numpy as np
import pytest

from hpi import ConfigError, DetectionResult, Frame, InputError, Instances, KeypointResult
from hpi.compat.paddlex.results import paddlex_result
from hpi.instances import Skeleton
from hpi.sinks.coco import CocoSink
from hpi.sinks.formats import FORMATS, open_sinks, resume_point
from hpi.sinks.line_file import GrowingSink
from hpi.sinks.lines import LinesSink, read_lines
from hpi.sinks.openpose import OpenPoseSink
from hpi.sinks.stream import NOTHING, Kept
from hpi.sinks.tables import CsvSink, ParquetSink
from hpi.sinks.trc import TrcSink
from hpi.sources.opening import open_stream

from recording import results, start, write_clip
from support import HANGS_S, require

NOBODY_IN = 6
"""A frame without people."""


@pytest.fixture
def made():
    """The results of ten frames, with smoothed keypoints."""
    found = list(results([np.zeros((240, 320, 3), np.uint8)] * 10))
    for result in found:
        result.smoothed = result.instances.replaced(keypoints=result.keypoints + 1)
    return found


def write(sink, made):
    for result in made:
        sink.add(result)
    sink.close()
    return sink.path


def assert_same(found, expected):
    assert found.scores == pytest.approx(expected.scores)
    for name in ("boxes", "keypoints", "keypoint_scores", "track_ids", "interpolated"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))


def test_lines_are_read_as_they_were_written(made, tmp_path):
    path = write(LinesSink(tmp_path / "a.jsonl"), made)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [result.json["res"] for result in made]
    for result, (index, time_s, found) in zip(made, read_lines(path), strict=True):
        assert (index, time_s) == (result.frame.index, result.frame.time_s)
        if index == NOBODY_IN:
            assert len(found) == 0
        elif result.instances.interpolated.any():
            assert_same(found, result.instances)
        else:
            assert_same(found.replaced(interpolated=[False] * 2), result.instances)


def test_smoothed_keypoints_only_where_they_are_asked_for(made, tmp_path):
    assert "smoothed" not in write(LinesSink(tmp_path / "a.jsonl"), made).read_text()
    first = json.loads(write(LinesSink(tmp_path / "b.jsonl", smoothed=True), made).open().readline())
    assert first["boxes"][0]["keypoints_smoothed"] == made[0].smoothed.points[0].tolist()


def test_a_detector_has_no_keypoints_to_smooth(tmp_path):
    frame = Frame(np.zeros((8, 8, 3), np.uint8), "a.mp4", index=0, time_s=0.0, stream="a")
    result = DetectionResult(frame, Instances([0.5], boxes=[[0, 0, 8, 8]]), ("person",))
    result.smoothed = result.instances
    path = write(LinesSink(tmp_path / "a.jsonl", smoothed=True), [result])
    assert json.loads(path.read_text()) == result.json["res"]


def test_a_table_goes_on_with_its_own_columns(made, tmp_path):
    path = write(CsvSink(tmp_path / "a.csv"), made[:5])
    before = path.read_bytes()
    sink = CsvSink(path, smoothed=True, kept=Kept(5, 5))
    with closing(sink), pytest.raises(InputError, match=r"a\.csv: has other columns: resume with the same model"):
        sink.add(made[5])
    assert path.read_bytes() == before


def test_a_line_without_boxes_and_one_of_a_detector(tmp_path):
    image = np.zeros((8, 8, 3), np.uint8)
    frames = [Frame(image, "a.mp4", index=index, time_s=index / 10, stream="a") for index in range(2)]
    alone = Instances([0.5], keypoints=[[[1, 2]]], keypoint_scores=[[0.5]])
    boxes = Instances([0.5], boxes=[[0, 0, 8, 8]], class_ids=[3])
    made = [
        paddlex_result(frames[0], alone, Skeleton.numbered(1), (), detected=False),
        DetectionResult(frames[1], boxes, ()),
    ]
    (_, _, keypoints), (_, _, objects) = read_lines(write(LinesSink(tmp_path / "a.jsonl"), made))
    assert keypoints.boxes is None
    assert keypoints.points.tolist() == [[[1, 2, 0.5]]]
    assert objects.class_ids.tolist() == [3]
    assert objects.keypoints is objects.track_ids is objects.interpolated is None


def test_a_cut_last_line_is_left_out(made, tmp_path, rng):
    path = write(LinesSink(tmp_path / "a.jsonl"), made)
    content = path.read_bytes()
    for cut in rng.integers(0, len(content), 20).tolist():
        path.write_bytes(content[:cut])
        assert len(list(read_lines(path))) == content[:cut].count(b"\n")


PERSON = {"coordinate": [0, 0, 1, 1], "det_score": 0.5, "keypoints": [[0, 0, 1]], "kpt_score": 0.5}


def line_of(*changes):
    """A line with a person for each of these changes."""
    return json.dumps({"frame_index": 0, "time_s": 0, "boxes": [PERSON | change for change in changes]})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("nonsense", "Invalid JSON"),
        ("[" * 100_000, "Invalid JSON"),
        ("[]", "Input should be an object"),
        ("{}", "frame_index: Field required"),
        ('{"frame_index": -1, "time_s": 0}', "frame_index: Input should be greater"),
        ('{"frame_index": 1e3, "time_s": 0}', "frame_index: Input should be a valid integer"),
        (f'{{"frame_index": {10**40}, "time_s": 0}}', "frame_index: "),
        ('{"frame_index": 0, "time_s": NaN}', "time_s: Input should be"),
        ('{"frame_index": 0, "time_s": 0, "boxes": 7}', "boxes: Input should be a valid "),
        ('{"frame_index": 0, "time_s": 0, "boxes": [{}]}', "people with different fields"),
        (line_of({"coordinate": [0, 0, 1e39, 1]}), "boxes.0.coordinate.2"),
        (line_of({"coordinate": None}), "people with different fields"),
        (line_of({"track_id": -2}), "boxes.0.track_id"),
        (line_of({}, {"keypoints": []}), "numbers of keypoints"),
        (line_of({}, {"keypoints": None}), "numbers of keypoints"),
    ],
)
def test_hostile_lines(tmp_path, content, reason):
    path = tmp_path / "a.jsonl"
    path.write_text(f"{content}\n")
    with pytest.raises(InputError) as caught:
        list(read_lines(path))
    assert str(caught.value).startswith(f"{path}: line 1: ")
    assert reason in str(caught.value)
    assert "start anew" in str(caught.value)


def test_frames_that_step_back(made, tmp_path):
    path = write(LinesSink(tmp_path / "a.jsonl"), [made[1], made[0]])
    with pytest.raises(InputError, match="line 2: frame 0 comes after frame 1"):
        list(read_lines(path))


def test_a_line_without_end_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("hpi.sinks.line_file.LONGEST_LINE", 1 << 20)
    path = tmp_path / "a.jsonl"
    path.write_bytes(bytes(1 << 21))
    with pytest.raises(InputError, match="not a file of results"):
        list(read_lines(path))


@pytest.mark.full
def test_a_full_disk_leaves_whole_lines(image, tmp_path):
    """The limit of a file's size stands for the disk."""
    clip = write_clip(tmp_path / "clip.mp4", image)
    process = start(clip, tmp_path, formats="jsonl", limit=20_000)
    printed, error = process.communicate(timeout=HANGS_S)
    path = tmp_path / "clip_res.jsonl"
    assert (process.returncode, len(error.splitlines())) == (3, 1)
    assert f"{path}: cannot be written: File too large; what was written before stays" in error
    assert [index for index, _, _ in read_lines(path)] == list(map(int, printed.split()))
    assert path.read_bytes().endswith(b"\n")


# Going on: from the same frame, with the same result as in one go


GROWING = {
    "jsonl": LinesSink,
    "coco": CocoSink,
    "csv": CsvSink,
    "parquet": ParquetSink,
    "openpose": lambda path, **kept: OpenPoseSink(path, "a", **kept),
    "trc": lambda path, **kept: TrcSink(path, "a", **kept),
}


def content_of(path):
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.iterdir()}
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pylist()
    return path.read_bytes()


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("kind", GROWING)
def test_a_run_that_goes_on_ends_as_one_in_one_go(made, tmp_path, kind, closed):
    """After a kill the sinks were not closed; then a last frame may be only in some of the files."""
    if kind == "parquet":
        require("pyarrow")
    whole = write(GROWING[kind](tmp_path / f"whole.{kind}"), made)
    path = tmp_path / f"a.{kind}"
    first = GROWING[kind](path)
    for result in made[:7]:
        first.add(result)
    if closed:
        first.close()
    write(GROWING[kind](path, kept=Kept(5, 5)), made[5:])
    assert content_of(path) == content_of(whole)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([whole.name, path.name])


@pytest.mark.parametrize("kind", ["coco", "csv"])
def test_another_programs_file_is_not_gone_on_with(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    path.write_text('{"annotations": []}\n')
    with pytest.raises(InputError, match="is damaged; start anew"):
        GROWING[kind](path, kept=Kept(5, 5))


def test_coco_is_what_pycocotools_reads(made, tmp_path):
    require("pycocotools")
    from pycocotools.coco import COCO

    path = write(CocoSink(tmp_path / "a.json"), made)
    entries = json.loads(path.read_text())
    assert len(entries) == sum(len(result.instances) for result in made)
    assert [entry.get("track_id") for entry in entries[:2]] == [4, None]
    truth = COCO()
    truth.dataset = {"images": [{"id": index} for index in range(10)], "categories": [{"id": 1}], "annotations": []}
    truth.createIndex()
    assert len(truth.loadRes(str(path)).getAnnIds(imgIds=[3])) == 2


def test_coco_of_nobody(tmp_path):
    assert json.loads(write(CocoSink(tmp_path / "a.json"), []).read_text()) == []


@pytest.mark.parametrize("kind", [CsvSink, ParquetSink])
def test_tables_have_a_row_for_each_person(made, tmp_path, kind):
    require("pandas")
    require("pyarrow")
    import pandas

    path = write(kind(tmp_path / "a", smoothed=True), made)
    table = pandas.read_csv(path) if kind is CsvSink else pandas.read_parquet(path)
    assert table.columns[:4].tolist() == ["frame_index", "time_s", "track_id", "interpolated"]
    assert table["frame_index"].tolist() == [index for index in range(10) if index != NOBODY_IN for _ in range(2)]
    assert table["track_id"].isna().tolist() == [False, True] * 9
    assert table["interpolated"].tolist() == [
        index % 3 == 2 for index in range(10) if index != NOBODY_IN for index in (index, 0)
    ]
    noses = np.concatenate([result.keypoints[:, 0] for result in made])
    assert np.array_equal(table[["nose_x", "nose_y"]].to_numpy(np.float32), noses)
    assert np.array_equal(table[["nose_smoothed_x", "nose_smoothed_y"]].to_numpy(np.float32), noses + 1)
    assert np.array_equal(table["x2"].to_numpy(np.float32), np.concatenate([result.boxes[:, 2] for result in made]))


def test_a_table_of_nobody_has_no_rows(made, tmp_path):
    require("pyarrow")
    import pyarrow.parquet

    path = write(ParquetSink(tmp_path / "a.parquet"), [made[NOBODY_IN]])
    assert pyarrow.parquet.read_table(path).num_rows == 0


def test_parquet_of_keypoints_with_commas_in_their_names_goes_on(tmp_path):
    require("pyarrow")
    import pyarrow.parquet

    skeleton = Skeleton("mine", ("thumb, left", "thumb, right"))
    found = Instances([0.9], keypoints=[[[1, 2], [3, 4]]], keypoint_scores=[[0.5, 0.6]])
    results = [
        KeypointResult(
            Frame(np.zeros((8, 8, 3), np.uint8), index=index, time_s=index / 25), found, skeleton, detected=False
        )
        for index in range(3)
    ]
    path = write(ParquetSink(tmp_path / "a.parquet"), results[:2])
    write(ParquetSink(path, kept=Kept(2, 2)), results[2:])
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [row["frame_index"] for row in rows] == [0, 1, 2]
    assert [row["thumb, right_x"] for row in rows] == [3, 3, 3]


def test_openpose_has_its_own_keypoints(made, tmp_path):
    """OpenPose's order, as its own --model_pose COCO writes it: the nose, the neck, the right arm, the left arm, ..."""
    path = write(OpenPoseSink(tmp_path, "a"), made)
    person = json.loads((path / "a_000000000000_keypoints.json").read_text())["people"][0]
    points = np.reshape(person["pose_keypoints_2d"], (18, 3)).astype(np.float32)
    found = made[0].instances.points[0]
    assert person["person_id"] == [4]
    assert np.array_equal(points[[0, 4, 5, 13, 17]], found[[0, 10, 5, 15, 3]])
    left, right = found[5], found[6]
    assert points[1] == pytest.approx([(left[0] + right[0]) / 2, (left[1] + right[1]) / 2, min(left[2], right[2])])
    assert json.loads((path / f"a_{NOBODY_IN:012d}_keypoints.json").read_text())["people"] == []


def test_openpose_of_a_detector_says_what_is_wrong(tmp_path):
    frame = Frame(np.zeros((8, 8, 3), np.uint8), index=0, time_s=0)
    with pytest.raises(InputError, match="choose another format"):
        OpenPoseSink(tmp_path, "a").add(DetectionResult(frame, Instances.empty(), ()))


# All files of a stream


@pytest.fixture
def clip(image, tmp_path):
    """A stream that is not read."""
    folder = tmp_path / "in"
    folder.mkdir()
    with closing(open_stream(write_clip(folder / "clip.mp4", image, frames=10))) as stream:
        yield stream


def test_every_format_has_its_file(clip, made, tmp_path):
    require("av")
    require("pyarrow")
    out = tmp_path / "out"
    sinks = open_sinks(clip, out, FORMATS)
    assert isinstance(sinks[-1], LinesSink)
    for sink in sinks:
        write(sink, made)
    names = [
        "clip_res.mp4",
        "clip_res.coco.json",
        "clip_res.csv",
        "clip_res.parquet",
        "clip_res.openpose",
        "clip_res_trc",
        "clip_res.jsonl",
    ]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert resume_point(out, "clip", FORMATS) == Kept(10, 10)


def test_an_unknown_format(clip, tmp_path):
    with pytest.raises(ConfigError, match="unknown format gif; known are video, coco"):
        open_sinks(clip, tmp_path, ["gif"])
    with pytest.raises(ConfigError, match="unknown format gif"):
        resume_point(tmp_path, "clip", ["gif"])


@pytest.mark.parametrize("is_own", [True, False])
def test_no_input_is_overwritten(clip, tmp_path, is_own):
    """Neither the stream itself, by another name, nor what another stream of the call reads."""
    out = tmp_path / "clip_res.jsonl"
    if is_own:
        out.hardlink_to(clip.path)
    else:
        out.write_bytes(b"of another stream")
    before = out.read_bytes()
    with pytest.raises(InputError, match="is the input itself"):
        open_sinks(clip, tmp_path, ["jsonl"], inputs=[] if is_own else [str(out)])
    assert out.read_bytes() == before


def test_frames_that_a_source_left_out_are_not_computed_again(made, tmp_path):
    """The index of a frame is not its number in the file: damaged frames have none."""
    write(LinesSink(tmp_path / "clip_res.jsonl"), [made[2], made[5], made[9]])
    assert resume_point(tmp_path, "clip", ["jsonl"]) == Kept(frames=3, next_index=10)


class CountSink(GrowingSink):
    """As docs/how-to/add.md says: which lines a frame has, and which frame a line is of."""

    def text(self, result):
        return f"{result.frame.index} {len(result.instances)}\n"

    def frame_of(self, line):
        return int(line.split()[0])


def test_adding_a_sink_of_lines(made, tmp_path):
    killed = CountSink(tmp_path / "a.txt", NOTHING)
    for result in made[:4]:
        killed.add(result)
    path = write(CountSink(tmp_path / "a.txt", Kept(2, 2)), made[2:])
    assert path.read_text().split() == [
        text for index in range(10) for text in (f"{index}", "0" if index == 6 else "2")
    ]
