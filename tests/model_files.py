"""Folders of models as others export them, with planted graphs, and the files that lie beside these."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from planted import save_planted

RGB = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "to_rgb": True}
BGR = {"mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395], "to_rgb": False}


def save_graph(
    path: Path,
    outputs: Mapping[str, Sequence[int | str] | None],
    shape: Sequence[int | str] = ("N", 3, 256, 192),
    *,
    dtype: int = TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
    **types: int,
) -> Path:
    """Save a graph that says nothing but which shapes it has: no runtime can load it.

    Args:
        path: the file.
        outputs: the shape of each output; None: unknown.
        shape: of the input.
        dtype: of the input, an enum of ONNX.
        metadata: what the file says of itself.
        types: of outputs, by their names; else float32.
    """
    graph = helper.make_graph(
        [helper.make_node("Relu", ["input"], [name]) for name in outputs],
        "shapes",
        [helper.make_tensor_value_info("input", dtype, shape)],
        [helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), one) for name, one in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, text in (metadata or {}).items():
        model.metadata_props.add(key=key, value=text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def write_json(path: Path, content: Any) -> Path:
    """Write a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def planted_simcc(keypoints: int = 17, size: tuple[int, int] = (192, 256)) -> dict[str, np.ndarray]:
    """SimCC vectors that put keypoint ``k`` at pixel ``(10 + k, 20 + 2k)`` of the input, with a score of 0.9."""
    outputs = {}
    for name, start, step, side in (("simcc_x", 10, 1, size[0]), ("simcc_y", 20, 2, size[1])):
        vectors = np.zeros((1, keypoints, side * 2), np.float32)
        vectors[0, np.arange(keypoints), 2 * (start + step * np.arange(keypoints))] = 0.9
        outputs[name] = vectors
    return outputs


def pipeline(transforms: list[dict[str, Any]], module: str, component: str, params: dict[str, Any]) -> dict[str, Any]:
    """The content of a ``pipeline.json``."""
    first, last = {"type": "LoadImageFromFile"}, {"type": "Collect", "keys": ["img"], "meta_keys": ["img_shape"]}
    tasks = [
        {"type": "Task", "module": "Transform", "name": "Preprocess", "transforms": [first, *transforms, last]},
        {"type": "Task", "module": "Net", "name": "net", "input_map": {"img": "input"}, "output_map": {}},
        {"type": "Task", "module": module, "name": "postprocess", "component": component, "params": params},
    ]
    return {"pipeline": {"input": ["img"], "output": ["post_output"], "tasks": tasks}}


def top_down(size: Sequence[int] = (192, 256), **affine: Any) -> list[dict[str, Any]]:
    """The transforms of a top-down model."""
    return [
        {"type": "TopDownGetBboxCenterScale", "padding": 1.25, "image_size": [*size]},
        {"type": "TopDownAffine", "image_size": [*size], **affine},
        {"type": "Normalize", **RGB},
    ]


def letterbox(size: int = 320) -> list[dict[str, Any]]:
    """The transforms of an RTMDet."""
    return [
        {"type": "Resize", "keep_ratio": True, "size": [size, size]},
        {"type": "Pad", "size": [size, size], "pad_val": {"img": [114, 114, 114]}},
        {"type": "Normalize", **BGR},
        {"type": "Pad", "size_divisor": 1},
        {"type": "DefaultFormatBundle"},
    ]


SIMCC = {"type": "SimCCLabel", "input_size": [192, 256], "simcc_split_ratio": 2.0, "use_dark": False}


def save_mmdeploy(
    folder: Path,
    content: dict[str, Any],
    task: str = "PoseDetector",
    training: str | None = None,
    net: str = "end2end.onnx",
) -> Path:
    """Write the files that mmdeploy puts beside a graph."""
    model = {"name": "net", "net": net, "weights": "", "backend": "onnxruntime", "precision": "FP32", "batch_size": 1}
    write_json(folder / "deploy.json", {"version": "1.3.1", "task": task, "models": [model], "customs": []})
    write_json(folder / "pipeline.json", content)
    write_json(folder / "detail.json", {"version": "1.3.1", "codebase": {"config": training, "pth": "weights.pth"}})
    return folder


def rtmpose(folder: Path, keypoints: int = 17, training: str = "rtmpose-m_8xb256-420e_coco-256x192.py") -> Path:
    """The SDK folder of an RTMPose."""
    save_planted(folder / "end2end.onnx", planted_simcc(keypoints))
    return save_mmdeploy(folder, pipeline(top_down(), "mmpose", "SimCCLabelDecode", dict(SIMCC)), training=training)


def rtmdet(folder: Path) -> Path:
    """The SDK folder of an RTMDet that finds one person, at (80, 40) to (160, 200) of 320x320."""
    dets = np.zeros((1, 3, 5), np.float32)
    dets[0, 0] = 80, 40, 160, 200, 0.9
    save_planted(folder / "end2end.onnx", {"dets": dets, "labels": np.zeros((1, 3), np.int64)}, ("N", 3, 320, 320))
    params = {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.6}, "max_per_img": 100}
    training = "projects/rtmpose/rtmdet/person/rtmdet_nano_320-8xb32_coco-person.py"
    return save_mmdeploy(folder, pipeline(letterbox(), "mmdet", "ResizeBBox", params), "Detector", training)


RAW = {
    "score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.55}, "max_per_img": 90, "nms_pre": 1000,
    "min_bbox_size": 0, "anchor_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]},
}  # fmt: skip


def rtmdet_raw(folder: Path) -> Path:
    """The same without suppression in the graph: classes and distances of three levels."""
    outputs = {}
    for name, count, nothing in (("cls", 1, -20), ("bbox", 4, 0)):
        for level, stride in enumerate((8, 16, 32)):
            outputs[f"{name}_{level}"] = np.full((1, count, 320 // stride, 320 // stride), nothing, np.float32)
    outputs["cls_1"][0, 0, 5, 6] = np.log(9)  # row 5, column 6: the point (96, 80)
    outputs["bbox_1"][0, :, 5, 6] = 16, 40, 64, 120
    save_planted(folder / "end2end.onnx", outputs, ("N", 3, 320, 320))
    training = "projects/rtmpose/rtmdet/person/rtmdet_nano_320-8xb32_coco-person.py"
    return save_mmdeploy(folder, pipeline(letterbox(), "mmdet", "RTMDetSepBNHead", RAW), "Detector", training)


def planted_heatmaps(keypoints: int = 17, size: tuple[int, int] = (48, 64)) -> dict[str, np.ndarray]:
    """Heatmaps with keypoint ``k`` in the cell ``(10 + k, 20 + 2k)``."""
    x, y = 10 + np.arange(keypoints), 20 + 2 * np.arange(keypoints)
    columns, rows = np.arange(size[0]), np.arange(size[1])
    distance = (rows[None, :, None] - y[:, None, None]) ** 2 + (columns[None, None] - x[:, None, None]) ** 2
    return {"heatmaps": np.exp(-distance / 8).astype(np.float32)[None]}


UDP = {"type": "UDPHeatmap", "input_size": [192, 256], "heatmap_size": [48, 64], "sigma": 2, "post_process": "default"}


def vitpose_sdk(folder: Path) -> Path:
    """The SDK folder of a ViTPose of mmpose."""
    save_planted(folder / "end2end.onnx", planted_heatmaps())
    content = pipeline(
        top_down(use_udp=True), "mmpose", "TopdownHeatmapSimpleHeadDecode", {**UDP, "use_udp": True, "flip_test": False}
    )
    return save_mmdeploy(folder, content, training="td-hm_ViTPose-base_8xb64-210e_coco-256x192.py")


PREPROCESSOR = {
    "do_affine_transform": True, "do_normalize": True, "do_rescale": True, "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "VitPoseImageProcessor", "image_std": [0.229, 0.224, 0.225], "normalize_factor": 200.0,
    "rescale_factor": 0.00392156862745098, "size": {"height": 256, "width": 192},
}  # fmt: skip
COCO_LABELS = [
    "Nose",
    *(
        f"{side}_{part}"
        for part in ("Eye", "Ear", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
        for side in "LR"
    ),
]


def huggingface(folder: Path, graph: str = "onnx/model.onnx") -> Path:
    """A folder of Hugging Face with a ViTPose."""
    save_planted(folder / graph, planted_heatmaps(), ("N", 3, 256, 192), name="pixel_values")
    write_json(folder / "preprocessor_config.json", PREPROCESSOR)
    labels = {str(index): name for index, name in enumerate(COCO_LABELS)}
    write_json(folder / "config.json", {"model_type": "vitpose", "id2label": labels, "edges": [[0, 1]]})
    return folder


def metadata(task: str = "pose", names: Mapping[int, str] | None = None, **more: str) -> dict[str, str]:
    """The metadata of Ultralytics, which are Python's literals."""
    said = {
        "description": "Ultralytics model", "author": "Ultralytics", "version": "8.3.0", "task": task, "stride": "32",
        "batch": "1", "imgsz": "[640, 640]", "names": repr(names or {0: "person"}),
        "args": "{'batch': 1, 'half': False, 'nms': False}",
    }  # fmt: skip
    return {**said, **({"kpt_shape": "[17, 3]"} if task == "pose" else {}), **more}
