"""HigherHRNet as PaddleDetection exports it, with random weights: on every runtime, alone and in batches."""

import cv2
import numpy as np
import pytest

from hpi import Predictor
from hpi.backends import BACKENDS
from hpi.heads.tags import TagsHead
from hpi.io.archives import unpack
from hpi.models import open_model
from hpi.models.readers import read_model
from hpi.selection.parity import reference_results, validate
from hpi.transforms import ShortSide

from support import ROUNDING, missing_backend

pytest.importorskip("scipy", reason="SciPy is not installed")

NAME = "higherhrnet_hrnet_w32_512"
IMAGES = ("000000014439", "keypoint_detection_002")
CLEAR = 0.05
"""Peaks above it are compared by their place: of equal ones, such as 0, it is left open."""
TAGS = 50 * ROUNDING
"""The same rounding of tags, which are up to 50."""


@pytest.fixture(scope="module")
def folder(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("higherhrnet")
    unpack(shared / "zoo" / "random" / f"{NAME}.tar.xz", folder)
    return folder


@pytest.fixture(scope="module")
def session(folder, options, paddle_model_backend):
    with BACKENDS[paddle_model_backend].load(read_model(folder).files, options) as session:
        yield session


def test_the_folder_says_what_it_is(folder):
    spec = read_model(folder)
    assert (spec.transform, spec.head, spec.draw_threshold) == (ShortSide(512), TagsHead(), 0)
    assert (spec.skeleton.name, spec.files.paddle.program.name) == ("coco17", "model.json")


@pytest.mark.parametrize(("variant", "size"), [("640", 640), ("512_swahr", 512)])
def test_the_ymls_of_its_sisters_are_read(folder, shared, tmp_path, variant, size):
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "infer_cfg.yml").unlink()
    yml = shared / "zoo" / "random" / "yml" / f"higherhrnet_hrnet_w32_{variant}.infer_cfg.yml"
    (tmp_path / "infer_cfg.yml").write_text(yml.read_text())
    assert read_model(tmp_path).transform == ShortSide(size)


@pytest.mark.full
@pytest.mark.parametrize("name", IMAGES)
def test_outputs_are_those_of_paddledetection(session, folder, shared, name):
    golden = np.load(shared / "zoo" / "golden" / "higherhrnet_random_weights" / f"{name}.npz")
    model = open_model(read_model(folder), session)
    prepared = model.prepare([cv2.imread(str(shared / "data" / "photos" / f"{name}.jpg"))])
    assert prepared.batch.shape == (1, *golden["input_shape"][2:], 3)
    heatmaps, tags, heats, cells = model.raw_outputs(prepared.batch)
    assert heatmaps.shape == tuple(golden["output_shape"])
    assert np.abs(heatmaps[..., ::8, ::8] - golden["heatmap_every_8th"]).max() < ROUNDING
    assert np.abs(heats - golden["heat_k"]).max() < ROUNDING
    clear = golden["heat_k"] > CLEAR
    assert (cells == golden["inds_k"])[clear].mean() > 0.99
    at = np.take_along_axis(tags.reshape(1, 17, -1), golden["inds_k"], axis=2)
    assert np.abs(at - golden["tags_at_inds"])[clear].max() < TAGS


@pytest.mark.full
def test_images_have_in_a_batch_the_outputs_that_they_have_alone(session, folder, image):
    model = open_model(read_model(folder), session)
    assert model.session.batch_size == (1 if session.info.backend == "paddle" else None)
    batch = model.prepare([image, np.ascontiguousarray(image[:, ::-1])]).batch
    together, alone = model.raw_outputs(batch), [model.raw_outputs(batch[item : item + 1]) for item in (0, 1)]
    for index, limit in enumerate((ROUNDING, TAGS, ROUNDING)):
        assert np.abs(together[index] - np.concatenate([one[index] for one in alone])).max() < limit


@pytest.mark.full
def test_every_runtime_passes_the_parity_gate(folder, options):
    spec = read_model(folder)
    with BACKENDS["onnxruntime"].load(spec.files, options) as reference:
        expected = reference_results(spec, reference, "fp32")
    for name in ("openvino", "paddle"):
        if missing_backend(name) is None:
            with BACKENDS[name].load(spec.files, options) as session:
                assert (verdict := validate(spec, session, expected)).passed, verdict.summary


@pytest.mark.full
def test_people_are_found_from_the_folder_as_it_is(folder, image, tmp_path):
    """On the runtime that is chosen."""
    with Predictor(NAME, model_dir=folder, device="cpu") as predictor:
        (result,) = predictor.predict(image)
    assert result.keypoints.shape[1:] == (17, 2)
    assert len(result.instances) == len(result["kpts"]) > 0
    assert (result.save(tmp_path, "picture")[0]).is_file()
