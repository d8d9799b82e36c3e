"""Files of other programs, each read from its path alone, and what is said of those that cannot be read."""

import json
import shutil
from itertools import pairwise

import model_files as files
import numpy as np
import pytest
from onnx import TensorProto

from hpi import Predictor
from hpi.errors import ConfigError, ModelError
from hpi.models.readers import Hints, read
from hpi.models.readers import graph as graph_files
from hpi.models.readers.skeletons import skeletons_of
from hpi.skeletons import load_skeleton, skeleton_names

from planted import save_planted
from support import quick_first

RGB = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
BGR = {"color": "bgr", "mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395]}
UNIT = {"std": [255.0, 255.0, 255.0]}
CROP = {"type": "top_down", "size": [192, 256]}
UDP = {"type": "heatmap", "decoder": "dark_udp", "align": "corners"}
SQUARE = ("N", 3, 64, 64)
NOBODY = np.zeros((1, 1, 17, 3), np.float32)
MIDDLE = {"type": "letterbox", "position": "center", "size": [640, 640]}


def written(path, **hints):
    return read(path, hints=Hints(**hints)).description.written


# What there is, read from the path alone


def test_an_sdk_folder_of_an_rtmpose(tmp_path):
    folder = files.rtmpose(tmp_path / "rtmpose")
    assert written(folder) == {
        "input": RGB, "transform": CROP, "head": {"type": "simcc"}, "skeleton": "coco17",
    }  # fmt: skip
    reading = read(folder)
    assert (reading.format, reading.spec.name, reading.path) == (
        "mmdeploy SDK folder", "rtmpose", folder / "pipeline.json",
    )  # fmt: skip
    assert any("coco17" in why for why in reading.because)
    assert read(folder / "end2end.onnx").description == reading.description
    assert read(folder / "deploy.json").description == reading.description


def test_an_sdk_folder_without_deploy_json(tmp_path):
    folder = files.rtmpose(tmp_path)
    (folder / "deploy.json").unlink()
    assert read(folder).spec.files.onnx == folder / "end2end.onnx"


def test_an_sdk_folder_of_an_rtmdet(tmp_path):
    assert written(files.rtmdet(tmp_path)) == {
        "input": BGR, "transform": {"type": "letterbox", "size": [320, 320], "sides": "rounded"},
        "head": {"type": "dets"},
        "classes": ["person"], "threshold": 0.3,
    }  # fmt: skip


def test_an_sdk_folder_of_an_rtmdet_without_suppression(tmp_path, rng):
    assert written(files.rtmdet_raw(tmp_path)) == {
        "input": BGR, "transform": {"type": "letterbox", "size": [320, 320], "sides": "rounded"},
        "head": {"type": "rtmdet", "iou_threshold": 0.55, "most": 90},
        "classes": ["person"], "threshold": 0.3,
    }  # fmt: skip
    with Predictor(tmp_path, backend="onnxruntime") as predictor:
        (result,) = predictor.predict(rng.integers(0, 256, (320, 320, 3), np.uint8))
    np.testing.assert_allclose(result.instances.boxes, [[80, 40, 160, 200]], atol=1e-3)
    assert result.instances.scores.tolist() == pytest.approx([0.9])


def test_an_sdk_folder_of_an_rtmdet_whose_levels_are_joined(tmp_path):
    """As the graphs that rtmlib's pages link to."""
    files.rtmdet_raw(tmp_path)
    files.save_graph(
        tmp_path / "end2end.onnx", {str(side): (1, side, side, 5) for side in (40, 20, 10)}, (1, 3, 320, 320)
    )
    assert written(tmp_path)["head"] == {"type": "rtmdet", "iou_threshold": 0.55, "most": 90}


def test_an_sdk_folder_of_a_vitpose(tmp_path):
    assert written(files.vitpose_sdk(tmp_path)) == {
        "input": RGB, "transform": {**CROP, "udp": True}, "head": UDP, "skeleton": "coco17",
    }  # fmt: skip


def test_an_sdk_folder_of_an_hrnet(tmp_path):
    files.save_graph(tmp_path / "end2end.onnx", {"output": ("N", 17, 64, 48)})
    codec = {"type": "MSRAHeatmap", "input_size": [192, 256], "heatmap_size": [48, 64], "post_process": "default"}
    content = files.pipeline(files.top_down(), "mmpose", "TopdownHeatmapSimpleHeadDecode", codec)
    files.save_mmdeploy(tmp_path, content, training="configs/animal_2d_keypoint/hrnet_ap10k-256x256.py")
    made = written(tmp_path)
    assert (made["head"], made["transform"], made["skeleton"]) == (
        {"type": "heatmap", "decoder": "quarter"}, CROP, "ap10k17",
    )  # fmt: skip


def test_an_sdk_folder_of_an_rtmo(tmp_path):
    files.save_graph(
        tmp_path / "end2end.onnx", {"dets": ("N", "M", 5), "keypoints": ("N", "M", 14, 3)}, ("N", 3, 640, 640)
    )
    params = {"input_size": [640, 640], "score_thr": 0.1, "nms_thr": 0.65, "type": "YOLOXPoseAnnotationProcessor"}
    zero = {"type": "Normalize", "mean": [0, 0, 0], "std": [1, 1, 1], "to_rgb": False}
    resize = {"type": "BottomupResize", "input_size": [640, 640], "pad_val": [114, 114, 114]}
    files.save_mmdeploy(tmp_path, files.pipeline([resize, zero], "mmpose", "UNKNOWN", params))
    assert written(tmp_path) == {
        "input": {"color": "bgr"}, "transform": {"type": "fit", "size": [640, 640]}, "head": {"type": "rtmo"},
        "skeleton": "crowdpose14",
        "threshold": 0.3,
    }  # fmt: skip


def test_a_detector_that_pads_to_a_square(tmp_path):
    """As those of YOLOX."""
    steps = files.letterbox(416)
    steps[1] = {"type": "Pad", "pad_to_square": True, "pad_val": {"img": [114.0, 114.0, 114.0]}}
    files.save_graph(tmp_path / "end2end.onnx", {"dets": ("N", "M", 5), "labels": ("N", "M")}, (1, 3, 416, 416))
    files.save_mmdeploy(tmp_path, files.pipeline(steps, "mmdet", "ResizeBBox", {}), "Detector")
    assert written(tmp_path)["transform"] == {"type": "letterbox", "size": [416, 416], "sides": "rounded"}


def test_a_stale_image_size_beside_a_codec_that_fits_the_graph(tmp_path):
    """As in the folders of RTMPose for hands."""
    files.save_graph(
        tmp_path / "end2end.onnx", {"simcc_x": ("N", 21, 512), "simcc_y": ("N", 21, 512)}, ("N", 3, 256, 256)
    )
    codec = {**files.SIMCC, "input_size": [256, 256]}
    files.save_mmdeploy(tmp_path, files.pipeline(files.top_down((192, 256)), "mmpose", "SimCCLabelDecode", codec))
    reading = read(tmp_path)
    assert reading.spec.input_size == (256, 256)
    assert reading.spec.skeleton.name == "hand21"
    assert any("TopDownAffine 192x256" in why for why in reading.because)


def test_outputs_that_the_pipeline_renames(tmp_path):
    files.save_graph(tmp_path / "end2end.onnx", {"700": ("N", 26, 512), "output": ("N", 26, 384)})
    content = files.pipeline(files.top_down(), "mmpose", "SimCCLabelDecode", files.SIMCC)
    content["pipeline"]["tasks"][1]["output_map"] = {"output": "simcc_x", "700": "simcc_y"}
    files.save_mmdeploy(tmp_path, content)
    assert written(tmp_path)["head"] == {"type": "simcc", "outputs": ["output", "700"]}


@pytest.mark.parametrize(
    ("task", "names", "shape", "head", "classes"),
    [
        ("pose", {0: "person"}, (1, 56, 8400), {"type": "yolo_pose", "keypoints": 17}, ["person"]),
        ("pose", {0: "person"}, ("batch", 56, "anchors"), {"type": "yolo_pose", "keypoints": 17}, ["person"]),
        ("pose", {0: "person"}, (1, 300, 57), {"type": "yolo26_pose"}, ["person"]),
        ("pose", {0: "person", 1: "b"}, (1, 57, 8400), {"type": "yolo_pose", "classes": 2, "keypoints": 17}, None),
        ("detect", {0: "it's", 1: "b"}, (1, 6, 8400), {"type": "yolo_boxes"}, ["it's", "b"]),
        ("detect", {0: "a", 2: "b"}, (1, 300, 6), {"type": "yolo26_boxes"}, ["a", "1", "b"]),
    ],
)
def test_files_of_ultralytics(tmp_path, task, names, shape, head, classes):
    size = ("batch", 3, "height", "width") if shape[0] == "batch" else (1, 3, 640, 640)
    file = files.save_graph(tmp_path / "yolo.onnx", {"output0": shape}, size, metadata=files.metadata(task, names))
    if classes is None:  # not of people alone
        assert "skeleton" not in written(file)
        assert any("so its keypoints have numbers" in why for why in read(file).because)
        asked = written(file, skeleton="coco17")
        assert (asked["head"], asked["skeleton"]) == (head, "coco17")
        return
    made = {"input": UNIT, "transform": MIDDLE, "head": head, "classes": classes, "threshold": 0.25}
    assert written(file) == (made if task == "detect" else {**made, "skeleton": "coco17"})
    assert written(tmp_path) == written(file)
    assert (read(file).spec.name, read(tmp_path).format) == ("yolo", "ONNX file of Ultralytics")


@pytest.mark.parametrize("graph", ["onnx/model.onnx", "model.onnx"])
def test_a_folder_of_hugging_face(tmp_path, graph):
    folder = files.huggingface(tmp_path / "vitpose-base", graph)
    expected = {"input": RGB, "transform": {**CROP, "udp": True}, "head": UDP, "skeleton": "coco17"}
    for path in (folder, folder / graph, folder / "config.json"):
        assert written(path) == expected
    assert (read(folder).spec.name, read(folder / graph).format) == ("vitpose-base", "Hugging Face folder")


def test_the_labels_of_hugging_face_tell_animals_from_people(tmp_path):
    folder = files.huggingface(tmp_path)
    labels = dict(enumerate(load_skeleton("ap10k17").keypoints))
    files.write_json(folder / "config.json", {"id2label": labels})
    assert written(folder)["skeleton"] == "ap10k17"
    files.write_json(folder / "config.json", {"id2label": {index: f"LABEL_{index}" for index in range(17)}})
    with pytest.raises(ModelError, match="ap10k17 or coco17"):
        read(folder)
    assert written(folder, skeleton="coco17")["skeleton"] == "coco17"


PLAIN = {
    "rtmw": (
        {"simcc_x": (1, 133, 576), "simcc_y": (1, 133, 768)}, (1, 3, 384, 288), {},
        {"input": RGB, "transform": {**CROP, "size": [288, 384]}, "head": {"type": "simcc"},
         "skeleton": "coco_wholebody133"},
    ),
    "swapped": (
        {"simcc_y": (1, 26, 512), "simcc_x": (1, 26, 384)}, (1, 3, 256, 192), {},
        {"input": RGB, "transform": CROP, "head": {"type": "simcc", "outputs": ["simcc_x", "simcc_y"]},
         "skeleton": "halpe26"},
    ),
    "face": (
        {"simcc_x": ("N", 106, 512), "simcc_y": ("N", 106, 512)}, ("N", 3, 256, 256), {},
        {"input": RGB, "transform": {**CROP, "size": [256, 256]}, "head": {"type": "simcc"},
         "skeleton": "lapa106_face"},
    ),
    "rtmpose": (
        {"simcc_x": ("N", 17, 384), "simcc_y": ("N", 17, 512)}, ("N", 3, 256, 192), {"skeleton": "ap10k17"},
        {"input": RGB, "transform": CROP, "head": {"type": "simcc"}, "skeleton": "ap10k17"},
    ),
    "five": (
        {"a": ("N", 5, 96), "b": ("N", 5, 128)}, ("N", 3, 64, 48), {},
        {"input": RGB, "transform": {**CROP, "size": [48, 64]}, "head": {"type": "simcc"}},
    ),
    "rtmo": (
        {"dets": (1, "M", 5), "keypoints": (1, "M", 17, 3)}, (1, 3, 640, 640), {"skeleton": "coco17"},
        {"input": {"color": "bgr"}, "transform": {"type": "fit", "size": [640, 640]}, "head": {"type": "rtmo"},
         "skeleton": "coco17",
         "threshold": 0.3},
    ),
    "yolox": (
        {"dets": (1, "M", 5), "labels": (1, "M")}, (1, 3, 416, 416), {"kind": "yolox"},
        {"input": {"color": "bgr"}, "transform": {"type": "letterbox", "size": [416, 416]}, "head": {"type": "dets"},
         "threshold": 0.3},
    ),
    "yolox raw": (
        {"output": (1, 3549, 6)}, (1, 3, 416, 416), {},
        {"input": {"color": "bgr"}, "transform": {"type": "letterbox", "size": [416, 416]},
         "head": {"type": "yolox"}, "threshold": 0.3},
    ),
    "rtmdet": (
        {"dets": (1, 100, 5)}, (1, 3, 320, 320), {"kind": "rtmdet"},
        {"input": BGR, "transform": {"type": "letterbox", "size": [320, 320]}, "head": {"type": "dets"},
         "threshold": 0.3},
    ),
    "rtmdet raw": (
        {"1211": (1, 40, 40, 5), "1213": (1, 20, 20, 5), "1215": (1, 10, 10, 5)}, (1, 3, 320, 320), {},
        {"input": BGR, "transform": {"type": "letterbox", "size": [320, 320]}, "head": {"type": "rtmdet"},
         "threshold": 0.3},
    ),
    "vitpose": (
        {"output_0": ("N", 133, 64, 48)}, ("N", 3, 256, 192), {"kind": "vitpose"},
        {"input": RGB, "transform": {**CROP, "udp": True}, "head": UDP, "skeleton": "coco_wholebody133"},
    ),
    "yolo pose": (
        {"output0": (1, 56, 8400)}, (1, 3, 640, 640), {"kind": "yolo", "skeleton": "coco17"},
        {"input": UNIT, "transform": MIDDLE, "head": {"type": "yolo_pose", "keypoints": 17}, "skeleton": "coco17",
         "threshold": 0.25},
    ),
    "yolo26": (
        {"output0": (1, 300, 6)}, (1, 3, 640, 640), {},
        {"input": UNIT, "transform": MIDDLE, "head": {"type": "yolo26_boxes"}, "threshold": 0.25},
    ),
    "yolo26 pose": (
        {"output0": (1, 300, 57)}, (1, 3, 640, 640), {"skeleton": "coco17"},
        {"input": UNIT, "transform": MIDDLE, "head": {"type": "yolo26_pose"}, "skeleton": "coco17", "threshold": 0.25},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_by_their_shapes(tmp_path, name):
    outputs, shape, hints, expected = PLAIN[name]
    labels = {"labels": TensorProto.INT64} if "labels" in outputs else {}
    file = files.save_graph(tmp_path / "model.onnx", outputs, shape, **labels)
    (tmp_path / "README.md").write_text("a model")
    assert written(file, **hints) == expected
    assert written(tmp_path, **hints) == expected


def test_eighty_classes_are_those_of_coco(tmp_path):
    for name, outputs in (("a", {"output": (1, 8400, 85)}), ("b", {"output": (1, 84, 8400)})):
        file = files.save_graph(tmp_path / f"{name}.onnx", outputs, (1, 3, 640, 640))
        classes = written(file)["classes"]
        assert (len(classes), classes[0], classes[-1]) == (80, "person", "toothbrush")


def test_what_mmdeploy_says_is_not_passed_over(tmp_path):
    """Each of these changes the result, and is read nowhere."""
    files.save_graph(tmp_path / "end2end.onnx", {"simcc_x": ("N", 26, 384), "simcc_y": ("N", 26, 512)})
    other = files.save_graph(tmp_path / "other" / "other.onnx", {"a": ("N", 26, 384)}).rename(tmp_path / "other.onnx")
    crop, normalize = files.top_down()[:2], files.top_down()[2]
    late = [crop[0], normalize, crop[1]]
    for transforms, params, said in (
        (late, files.SIMCC, "TopDownAffine after Normalize is not read"),
        (files.top_down(), {**files.SIMCC, "unbiased": True}, "unbiased"),
        (files.top_down(), {**files.SIMCC, "blur_kernel_size": 17}, "blur_kernel_size"),
    ):
        files.save_mmdeploy(tmp_path, files.pipeline(transforms, "mmpose", "SimCCLabelDecode", params))
        with pytest.raises(ModelError, match=said):
            read(tmp_path)
    files.save_mmdeploy(tmp_path, files.pipeline(files.top_down(), "mmpose", "SimCCLabelDecode", files.SIMCC))
    with pytest.raises(ModelError, match=r"other\.onnx: the pipeline\.json beside it is of end2end\.onnx"):
        read(other)


def test_heatmaps_may_be_of_a_vitpose_or_of_an_hrnet(tmp_path):
    graph = files.save_graph(tmp_path / "a.onnx", {"output": ("N", 26, 64, 48)})
    with pytest.raises(ModelError, match=r"ViTPose \(kind='vitpose'\) or .* HRNet \(described in an hpi\.yml\)"):
        read(graph)
    assert written(graph, kind="vitpose")["head"] == UDP


def test_movenet_multipose(tmp_path):
    shape = (1, "height", "width", 3)
    for outputs in ({"Identity": None}, {"Identity": (1, 6, 56)}):
        file = files.save_graph(tmp_path / "model.onnx", outputs, shape, dtype=TensorProto.INT32)
        assert written(file) == {
            "input": {"layout": "nhwc", "dtype": "int32"},
            "transform": {"type": "long_side", "length": 256, "multiple": 32},
            "head": {"type": "multipose"}, "skeleton": "coco17",
        }  # fmt: skip


def test_real_files(shared):
    assert written(shared / "models" / "RTMDet-nano_raw")["head"] == {"type": "rtmdet"}
    assert written(shared / "zoo" / "real" / "movenet_multipose.onnx")["head"] == {"type": "multipose"}
    simcc = shared / "zoo" / "real" / "simcc_from_tinypose_256x192.onnx"
    assert written(simcc, skeleton="coco17")["head"] == {"type": "simcc"}


def test_an_hpi_yml_wins(tmp_path):
    folder = files.huggingface(files.rtmpose(tmp_path), "end2end.onnx")
    with pytest.raises(ModelError, match=r"mmdeploy SDK folder .* and Hugging Face folder .*hpi\.yml"):
        read(folder)
    (folder / "hpi.yml").write_text("{transform: {type: top_down, size: [192, 256]}, head: {type: heatmap}}")
    assert written(folder) == {"transform": CROP, "head": {"type": "heatmap"}}


def test_a_skeleton_may_be_named_where_nothing_else_does(tmp_path):
    files.save_graph(tmp_path / "model.onnx", {"heatmaps": ("N", 17, 64, 48)})
    text = "{transform: {type: top_down, size: [192, 256]}, head: {type: heatmap, align: corners}}"
    (tmp_path / "hpi.yml").write_text(text)
    assert written(tmp_path, skeleton="coco17", kind="vitpose")["skeleton"] == "coco17"
    assert read(tmp_path, hints=Hints(skeleton="coco17")).spec.skeleton.name == "coco17"
    (tmp_path / "hpi.yml").write_text(text.replace(", align: corners", ""))
    with pytest.raises(ModelError, match="it is no vitpose"):
        read(tmp_path, hints=Hints(kind="vitpose"))


def test_the_number_in_a_skeletons_name_is_that_of_its_keypoints():
    for name in skeleton_names():
        assert name in skeletons_of(len(load_skeleton(name)))


@pytest.mark.parametrize(
    ("count", "names"), [(17, ("ap10k17", "coco17")), (106, ("lapa106_face",)), (7, ()), (1, ()), (6, ())]
)
def test_skeletons_of_so_many_keypoints(count, names):
    assert skeletons_of(count) == names


# What is wrong or not clear


def sdk(change):
    """An RTMPose whose pipeline.json is changed."""

    def make(folder):
        files.rtmpose(folder)
        content = json.loads((folder / "pipeline.json").read_text())
        change(content["pipeline"]["tasks"])
        files.write_json(folder / "pipeline.json", content)

    return make


def raw(change):
    """An RTMDet without suppression, whose params are changed."""

    def make(folder):
        files.rtmdet_raw(folder)
        content = json.loads((folder / "pipeline.json").read_text())
        change(content["pipeline"]["tasks"][2]["params"])
        files.write_json(folder / "pipeline.json", content)

    return make


def raw_graph(folder):
    files.rtmdet_raw(folder)
    files.save_graph(folder / "end2end.onnx", {"dets": ("N", "M", 5), "labels": ("N", "M")}, (1, 3, 320, 320))


def put(name, text):
    """An RTMPose with another file."""

    def make(folder):
        files.rtmpose(folder)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return make


def deploy(**changes):
    def make(folder):
        files.rtmpose(folder)
        content = json.loads((folder / "deploy.json").read_text())
        content["models"][0] |= {key: value for key, value in changes.items() if key != "task"}
        content |= {key: value for key, value in changes.items() if key == "task"}
        files.write_json(folder / "deploy.json", content)

    return make


def yolo(task="pose", shape=(1, 56, 8400), size=(1, 3, 640, 640), **said):
    def make(folder):
        metadata = {key: text for key, text in {**files.metadata(task), **said}.items() if text is not None}
        files.save_graph(folder / "yolo.onnx", {"output0": shape}, size, metadata=metadata)

    return make


def vitpose(change):
    def make(folder):
        files.huggingface(folder)
        content = json.loads((folder / "preprocessor_config.json").read_text())
        change(content)
        files.write_json(folder / "preprocessor_config.json", content)

    return make


def plain(outputs, shape=("N", 3, 256, 192), **more):
    return lambda folder: files.save_graph(folder / "model.onnx", outputs, shape, **more)


def two_graphs(folder):
    for name in ("a", "b"):
        files.save_graph(folder / f"{name}.onnx", {"simcc_x": (1, 26, 384), "simcc_y": (1, 26, 512)})


def two_formats(folder):
    files.rtmpose(folder)
    (folder / "inference.yml").write_text("Preprocess: []")


SIMCC17 = {"simcc_x": ("N", 17, 384), "simcc_y": ("N", 17, 512)}
SIMCC26 = {"simcc_x": ("N", 26, 384), "simcc_y": ("N", 26, 512)}
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghi")
)
WRONG = {
    # mmdeploy
    "broken JSON": (put("pipeline.json", '{"pipeline": '), {}, r"pipeline\.json: not valid JSON"),
    "a list": (put("pipeline.json", "[]"), {}, r"pipeline\.json"),
    "deep JSON": (put("pipeline.json", "[" * 100_000), {}, r"pipeline\.json: not valid JSON"),
    "huge JSON": (put("pipeline.json", "[" + "1," * (1 << 20) + "1]"), {}, r"pipeline\.json: larger than 1024 KiB"),
    "a key twice": (put("pipeline.json", '{"pipeline": 1, "pipeline": 2}'), {}, "'pipeline' appears twice"),
    "no text": (put("pipeline.json", b"\xff\xfe"), {}, r"pipeline\.json: not valid JSON"),
    "no tasks": (put("pipeline.json", '{"pipeline": {}}'), {}, r"pipeline\.tasks' is missing"),
    "no pipeline.json": (lambda folder: put("pipeline.json", "")(folder) or (folder / "pipeline.json").unlink(), {},
                         r"no pipeline\.json"),
    "no image_size": (sdk(lambda tasks: tasks[0]["transforms"][2].pop("image_size")), {}, "image_size' is missing"),
    "another image_size": (sdk(lambda tasks: tasks[0]["transforms"][2].update(image_size=[288, 384])
                               or tasks[2]["params"].pop("input_size")), {},
                           "TopDownAffine 288x384, the graph 192x256"),
    "no Normalize": (sdk(lambda tasks: tasks[0]["transforms"].pop(3)), {}, "no Normalize"),
    "std of 0": (sdk(lambda tasks: tasks[0]["transforms"][3].update(std=[1, 0, 1])), {}, r"Normalize\.std\.1"),
    "unknown transform": (sdk(lambda tasks: tasks[0]["transforms"].insert(1, {"type": "CenterCrop"})), {},
                          "CenterCrop"),
    "no box": (sdk(lambda tasks: tasks[0]["transforms"].pop(1)), {}, "transforms are TopDownAffine; read are"),
    "unknown component": (sdk(lambda tasks: tasks[2].update(component="DeepposeRegressionHeadDecode")), {},
                          "component DeepposeRegressionHeadDecode .* not read"),
    "unknown codec": (sdk(lambda tasks: tasks[2].update(component="UNKNOWN")), {}, "codec SimCCLabel is not read"),
    "heatmaps that are vectors": (sdk(lambda tasks: tasks[2].update(component="TopdownHeatmapSimpleHeadDecode")), {},
                                  "needs heatmaps"),
    "a decoded export": (sdk(lambda tasks: tasks[2]["params"].update(export_postprocess=True)), {},
                         "export_postprocess is not read"),
    "UDP and SimCC": (sdk(lambda tasks: tasks[0]["transforms"][2].update(use_udp=True)), {}, "use_udp True .*codec"),
    "a detector's task": (deploy(task="Detector"), {}, "SimCCLabelDecode of a Detector"),
    "another task": (deploy(task="Segmentor"), {}, "task 'Segmentor'"),
    "TensorRT": (deploy(net="end2end.engine", backend="tensorrt"), {}, "end2end.engine is for tensorrt"),
    "a path that leaves": (deploy(net="../end2end.onnx"), {}, "not in this folder"),
    "another path that leaves": (deploy(net="/etc/end2end.onnx"), {}, "not in this folder"),
    "no graph": (deploy(net="other.onnx"), {}, "net other.onnx is missing, there is end2end.onnx"),
    "no strides": (raw(lambda params: params.pop("anchor_generator")), {},
                   r"params of RTMDetSepBNHead: field 'anchor_generator' is missing"),
    "no NMS threshold": (raw(lambda params: params["nms"].pop("iou_threshold")), {}, "iou_threshold' is missing"),
    "no score threshold": (raw(lambda params: params.pop("score_thr")), {}, "score_thr' is missing"),
    "points in the middle": (raw(lambda params: params["anchor_generator"].update(offset=0.5)), {}, "offset"),
    "four strides": (raw(lambda params: params["anchor_generator"].update(strides=[8, 16, 32, 64])), {}, "strides"),
    "other strides": (raw(lambda params: params["anchor_generator"].update(strides=[4, 8, 16])), {},
                      r"needs outputs of the strides 4, 8, 16: three of classes .* but it takes"),
    "a finished graph": (raw_graph, {}, "needs outputs of the strides 8, 16, 32.* gives dets"),
    "a wrong skeleton": (files.rtmpose, {"skeleton": "hand21"}, "hand21 has 21 keypoints, but the model finds 17; "
                         "known of 17 are ap10k17, coco17"),
    "a kind with the same head": (files.rtmdet, {"kind": "yolox"}, "is no yolox: its outputs are read as dets"),
    "a wrong kind": (files.rtmpose, {"kind": "rtmo"}, "is no rtmo: its outputs are read as simcc; leave kind out"),
    "an unknown training": (lambda folder: files.rtmpose(folder, training="mine.py"), {},
                            "ap10k17 or coco17; .*--write"),
    # Ultralytics
    "segmentation": (yolo("segment"), {}, "task 'segment'; read are those for detect and pose"),
    "no names": (yolo(names="{}"), {}, "names"),
    "a program as names": (yolo(names="__import__('os').abort()"), {}, "names cannot be read"),
    "deep names": (yolo(names="[" * 10_000), {}, "names cannot be read"),
    "no imgsz": (yolo(imgsz=None), {}, "'imgsz' is missing"),
    "another imgsz": (yolo(imgsz="[320, 320]"), {}, r"imgsz \[320, 320\] .* 640, 640"),
    "keypoints without scores": (yolo(kpt_shape="[17, 2]"), {}, "without scores are not read"),
    "other keypoints": (yolo(kpt_shape="[21, 3]"), {}, r"that would be \[N, 68, cells\]"),
    "no kpt_shape": (yolo("detect", kpt_shape="[17, 3]"), {}, "detect contradicts kpt_shape"),
    "not finished": (yolo(end2end="True"), {}, "speak of finished rows"),
    # Hugging Face
    "no size": (vitpose(lambda content: content.pop("size")), {}, r"preprocessor_config\.json: .*'size' is missing"),
    "another size": (vitpose(lambda content: content["size"].update(width=256)), {}, "size is 256x256 .*256, 192"),
    "another processor": (vitpose(lambda content: content.update(image_processor_type="CLIPImageProcessor")), {},
                          "CLIPImageProcessor' is not read"),
    "no affine": (vitpose(lambda content: content.update(do_affine_transform=False)), {}, "do_affine_transform"),
    "infinite mean": (vitpose(lambda content: content.update(image_mean=[1e999, 0, 0])), {}, "image_mean"),
    "no ONNX": (lambda folder: shutil.rmtree(files.huggingface(folder) / "onnx"), {}, r"no \*\.onnx"),
    "quantized ones": (lambda folder: [files.save_graph(folder / "onnx" / f"model_{name}.onnx", {"x": (1, 17, 64, 48)})
                                       for name in ("fp16", "int8")]
                       and files.write_json(folder / "preprocessor_config.json", files.PREPROCESSOR), {},
                       r"several \*\.onnx files: model_fp16\.onnx, model_int8\.onnx"),
    # plain files
    "17 keypoints": (plain(SIMCC17), {}, "its 17 keypoints may be ap10k17 or coco17; .*--skeleton coco17"),
    "17 of another": (plain(SIMCC17), {"skeleton": "mpii16"}, "mpii16 has 16 keypoints, but the model finds 17"),
    "an unknown kind": (plain(SIMCC26), {"kind": "simc"}, "did you mean 'simcc'"),
    "an unknown skeleton": (plain(SIMCC26), {"skeleton": "halpe27"}, "did you mean 'halpe26'"),
    "not of that kind": (plain(SIMCC26), {"kind": "vitpose"}, "it is no vitpose: .*simcc_x .*vitpose gives heatmaps"),
    "K differs": (plain({"simcc_x": (1, 26, 384), "simcc_y": (1, 17, 512)}), {}, "no known family"),
    "ratios differ": (plain({"simcc_x": (1, 26, 384), "simcc_y": (1, 26, 256)}), {}, "no known family"),
    "YOLOX or RTMDet": (plain({"dets": (1, 100, 5)}, (1, 3, 320, 320)), {},
                        r"boxes of a YOLOX \(kind='yolox'\) or .*RTMDet \(kind='rtmdet'\).*inspect .*--kind yolox"),
    "52 classes or 17 keypoints": (plain({"output0": (1, 56, 8400)}, (1, 3, 640, 640)), {},
                                   r"boxes of 52 classes .*hpi\.yml.* or people with 17 keypoints .*skeleton='coco17'"),
    "a skeleton of boxes": (plain({"output0": (1, 300, 6)}, (1, 3, 640, 640)), {"skeleton": "coco17"}, "coco17 was"),
    "any size": (plain({"simcc_x": (1, 26, 384), "simcc_y": (1, 26, 512)}, ("N", 3, "h", "w")), {},
                 "no fixed height and width"),
    "half precision": (plain(SIMCC26, dtype=TensorProto.FLOAT16), {}, "takes float16; export it with float32"),
    "no images": (plain({"y": (1, 10)}, (1, 128)), {}, "none of its inputs takes images"),
    "a classifier": (plain({"logits": (1, 1000)}, (1, 3, 224, 224)), {}, "no known family: .*simcc gives"),
    "several graphs": (two_graphs, {}, r"several \*\.onnx files: a\.onnx, b\.onnx; give the path"),
    "two formats": (two_formats, {}, "PaddleX or PaddleDetection folder .*mmdeploy SDK folder"),
    "damaged": (lambda folder: (folder / "a.onnx").write_bytes(b"\x3a\x7f1234"), {}, "truncated"),
    "no graph at all": (lambda folder: (folder / "a.onnx").write_bytes(b"\x08\x07"), {}, "no outputs"),
    "LFS": (lambda folder: (folder / "a.onnx").write_text("version https://git-lfs.github.com/spec/v1"), {}, "lfs"),
    "nothing": (lambda folder: (folder / "README.md").write_text("a"), {},
                r"no inference\.yml.*mmdeploy.*Hugging Face"),
    # hpi.yml
    "a YAML bomb": (put("hpi.yml", BOMB), {}, r"hpi\.yml"),
    "a wrong hpi.yml": (put("hpi.yml", "transform: {type: top_down}"), {}, r"hpi\.yml.*size"),
    "an unknown head": (put("hpi.yml", "{transform: {type: top_down, size: [1, 1]}, head: {type: heatmapp}}"), {},
                        "did you mean 'heatmap'"),
    "another skeleton": (put("hpi.yml", "{transform: {type: top_down, size: [192, 256]}, head: {type: simcc}, "
                             "skeleton: coco17}"), {"skeleton": "ap10k17"}, "names the skeleton coco17, but ap10k17"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_or_not_clear_is_an_error_that_says_so(tmp_path, name):
    make, hints, said = WRONG[name]
    folder = tmp_path / "model"
    folder.mkdir()
    make(folder)
    with pytest.raises((ModelError, ConfigError), match=said) as error:
        read(folder, hints=Hints(**hints))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 3000


ODD = [
    None,
    True,
    -1,
    0,
    2.5,
    1e308,
    float("nan"),
    "",
    "x" * 3000,
    "\0",
    "../x",
    [],
    [[]],
    {},
    {"a": 1},
    [1, 2],
    "person",
]


def paths(content, path=()):
    """The places in a JSON."""
    yield path
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from paths(value, (*path, key))


@pytest.mark.parametrize("made", quick_first(["rtmpose", "huggingface", "rtmdet", "rtmdet_raw", "vitpose_sdk"], 1))
def test_odd_values_in_any_place_are_read_or_a_model_error(tmp_path, rng, made):
    folder = getattr(files, made)(tmp_path / "model")
    targets = {file: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    for file, content in targets.items():
        for place in paths(content):
            changed = json.loads(json.dumps(content))
            *above, last = place or (None,)
            odd = ODD[rng.integers(len(ODD))]
            if last is None:
                changed = odd
            else:
                inner = changed
                for key in above:
                    inner = inner[key]
                inner[last] = odd
            file.write_text(json.dumps(changed))
            try:
                read(folder)
            except ModelError as error:
                assert len(str(error)) < 5000, place
        files.write_json(file, content)


@pytest.mark.parametrize("key", quick_first(["names", "task", "imgsz", "kpt_shape", "end2end", "args", "stride"], 1))
def test_odd_metadata_are_read_or_a_model_error(tmp_path, key):
    for odd in (*map(repr, ODD), "{", "1" * 9000, "[" * 9000, "-" * 9000, "{**{}}", "lambda: 0", "{0: {}}", "{0: 1}"):
        yolo(**{key: odd})(tmp_path)
        try:
            read(tmp_path)
        except ModelError as error:
            assert len(str(error)) < 5000


@pytest.mark.parametrize("made", quick_first(["yolo", "rtmpose", "huggingface"]))
def test_damaged_files_are_read_or_a_model_error(tmp_path, rng, made):
    """Bytes changed, cut off and put in, in each file that says something."""
    folder = tmp_path / "model"
    if made == "yolo":
        yolo()(folder)
    else:
        getattr(files, made)(folder)
    targets = [file for file in folder.rglob("*") if file.suffix in {".json", ".onnx"}]
    outcomes = set()
    for _ in range(60):
        target = targets[rng.integers(len(targets))]
        whole = target.read_bytes()
        target.write_bytes(damaged(whole, rng))
        try:
            read(folder)
            outcomes.add("read")
        except ModelError as error:
            outcomes.add("error")
            assert len(str(error)) < 5000
        finally:
            target.write_bytes(whole)
    assert "error" in outcomes


def damaged(content, rng):
    at, some = int(rng.integers(len(content))), rng.integers(0, 256, 4, np.uint8).tobytes()
    match rng.integers(4):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + some + content[at:]
        case 2:
            return content[:at] + content[at + int(rng.integers(1, 20)) :]
    return content[:at] + some + content[at + 4 :]


# The header of a graph


def test_the_header_of_a_lone_graph_is_read_once_when_it_opens(tmp_path, monkeypatch):
    read_so_far = []
    read_header = graph_files.read_header
    monkeypatch.setattr(graph_files, "read_header", lambda path: read_so_far.append(path) or read_header(path))
    file = save_planted(tmp_path / "rtmo.onnx", {"dets": np.zeros((1, 1, 5), np.float32), "keypoints": NOBODY}, SQUARE)
    with Predictor(file, backend="onnxruntime", skeleton="coco17") as predictor:
        predictor.side_by_side()
        assert predictor.name == "rtmo"
    assert read_so_far == [file]
