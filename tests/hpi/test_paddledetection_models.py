"""The keypoints of PaddleDetection 666f597's deploy scripts, from the folders that it exports.

``zoo/golden`` holds what these scripts return on plain Paddle. Most weights in ``zoo/random`` are random. The
keypoints are those of PaddleDetection's crop, which rounds the centre of a region on the way back to the image.
"""

import json
import shutil

import numpy as np
import pytest

import hpi.backends.paddle
from hpi import Predictor
from hpi.backends import BACKENDS
from hpi.backends.base import Variant
from hpi.backends.paddle import PlainPaddle
from hpi.backends.paddle_to_onnx import convert
from hpi.devices import OnHost
from hpi.errors import BackendError, HpiError
from hpi.heads.heatmap import HeatmapHead
from hpi.kernels.heatmaps import decode_dark
from hpi.models import open_model
from hpi.models.readers import read_model
from hpi.selection import choose
from hpi.selection.priors import Priors
from hpi.selection.ranking import Request, rank
from hpi.sources import read_items
from hpi.transforms import CROPS
from hpi.zoo import Zoo

from support import quick_first

RUNTIMES = ("onnxruntime", "openvino", "paddle")
WITH_GOLDEN = (
    "lite_hrnet_18_256x192_coco",
    "wider_naive_hrnet_18_256x192_coco",
    "hrnet_w32_256x192",
    "hrnet_w32_256x256_mpii",
)
WITHOUT_GOLDEN = ("lite_hrnet_30_384x288_coco", "hrnet_w32_384x288", "dark_hrnet_w32_256x192", "dark_hrnet_w32_384x288")
LITE = ("lite_hrnet_18_256x192_coco", "lite_hrnet_30_384x288_coco", "wider_naive_hrnet_18_256x192_coco")
IMAGES = ("keypoint_detection_002.jpg", "000000014439.jpg")
CLEAR = 0.2
CROP = "paddledetection"


def keypoints_of(results):
    return np.stack([np.column_stack([one.keypoints[0], one.keypoint_scores[0]]) for one in results])


def moved_by_rounding(heatmaps, widths, rng, amount):
    """How far keypoints ``[N, K]`` are moved, in pixels of images of these widths, by as much change of the heatmaps.

    The refining step divides by a curvature, which in a random heatmap may be almost nothing.
    """
    places, _ = decode_dark(heatmaps)
    changed = (heatmaps + rng.uniform(-amount, amount, heatmaps.shape).astype(np.float32) for _ in range(8))
    moved = [np.linalg.norm(decode_dark(one)[0] - places, axis=-1) for one in changed]
    return np.max(moved, axis=0) * np.reshape(widths, (-1, 1)) / heatmaps.shape[3]


def assert_close(found, expected, magnified):
    """Keypoints ``[N, K, 3]`` are the expected ones, where rounding ``[N, K]``, in pixels, is not magnified beyond."""
    off = np.linalg.norm(found[..., :2] - expected[..., :2], axis=-1)
    clear = expected[..., 2] > CLEAR
    assert (off <= np.maximum(0.1, magnified))[clear].mean() >= 0.99
    assert (off <= np.maximum(0.5, magnified)).all()
    assert (magnified < 0.1).mean() > 0.7
    assert np.abs(found[..., 2] - expected[..., 2]).max() < 0.005


def run_on(session, spec, images):
    """Keypoints ``[N, K, 3]`` of whole images, and the heatmaps that they are from."""
    model = open_model(spec, session)
    prepared = model.prepare(images)
    (heatmaps,) = model.outputs_of(model.feeds(prepared))
    return model.decode([heatmaps.copy()], prepared).points, heatmaps


@pytest.fixture
def paths(shared):
    return [str(shared / "data" / "photos" / name) for name in IMAGES]


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "backend", "dark"),
    quick_first(((name, backend, dark) for dark in (True, False) for name in WITH_GOLDEN for backend in RUNTIMES), 1),
)
def test_the_network_and_its_decoding(exported, shared, paths, rng, name, backend, dark):
    golden = np.load(shared / "zoo" / "golden" / "topdown_random_weights" / f"{name}.npz")
    sizes = golden["im_shape"][:, ::-1]
    with Predictor(name, model_dir=exported(name), backend=backend, use_dark=dark, crop=CROP) as predictor:
        assert predictor.backend == backend
        results = list(predictor.predict(paths))
    magnified = moved_by_rounding(golden["heatmap"], sizes[:, 0], rng, 1e-4) if dark else np.zeros(1)
    expected = golden["keypoints_dark" if dark else "keypoints_quarter"]
    assert_close(keypoints_of(results), expected, magnified)
    assert tuple(results[0].keypoint_names) == Zoo.default().skeleton_of(name).keypoints


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize(
    ("name", "size"), [("coco_256x192", (192, 256)), ("coco_384x288", (288, 384)), ("mpii_256x256", (256, 256))]
)
def test_heatmaps_with_edge_cases(shared, name, size, dark):
    """Maps without a positive value, plateaus, peaks in corners and at borders."""
    golden = np.load(shared / "zoo" / "golden" / "topdown_postprocess" / f"{name}.npz")
    heatmaps, sizes = golden["heatmap"], golden["im_shape"][:, ::-1]
    people, items = HeatmapHead(decoder="dark" if dark else "quarter").decode([heatmaps], len(heatmaps), size)
    images = [np.zeros((int(height), int(width), 3), np.uint8) for width, height in sizes]
    found = CROPS[CROP](size).prepare(OnHost({}), images).inverse.apply(people, items).points
    expected = golden["keypoints_dark" if dark else "keypoints_quarter"]
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("name", ["coco_256x192", "coco_384x288", "mpii_256x256"])
def test_averaging_with_the_mirror_image(shared, name):
    golden = np.load(shared / "zoo" / "golden" / "topdown_postprocess" / f"{name}.npz")
    skeleton = Zoo.default().skeleton_of("hrnet_w32_256x256_mpii" if "mpii" in name else "hrnet_w32_256x192")
    assert {tuple(sorted(pair)) for pair in golden["flip_pairs"].tolist()} == {tuple(sorted(p)) for p in skeleton.swaps}
    for offset, expected in ((0.0, "fused_shifted"), (0.5, "fused_plain")):
        head = HeatmapHead(offset=offset)
        (fused,) = head.fuse_flip([golden["heatmap"]], [golden["flipped_output"]], skeleton.mirrored)
        assert np.abs(fused - golden[expected]).max() < 1e-6


@pytest.mark.full
@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("folder", ["tinypose_256x192_paddle2", "PP-TinyPose_256x192"])
@pytest.mark.parametrize("backend", RUNTIMES)
def test_pp_tinypose_by_paddledetections_rules(shared, backend, folder, dark):
    """With real weights, on whole images: what ``keypoint_infer.py`` finds, with and without ``--use_dark``."""
    files = sorted((shared / "zoo" / "golden" / "keypoint_infer_tinypose256").glob("*.json"))
    goldens = [json.loads(file.read_text()) for file in files]
    folders = (shared / "data" / "photos", shared / "data" / "coco_val" / "images")
    images = [str(next(path for at in folders if (path := at / one["image"]).is_file())) for one in goldens]
    name = folder.removesuffix("_paddle2")
    options = {"backend": backend, "use_dark": dark, "crop": CROP}
    with Predictor(name, model_dir=shared / "models" / folder, **options) as predictor:
        found = keypoints_of(predictor.predict(images))
    expected = np.array([one["keypoints" if dark else "keypoints_no_dark"] for one in goldens])
    off = np.linalg.norm(found[..., :2] - expected[..., :2], axis=-1)
    assert (off[expected[..., 2] > CLEAR] < 0.1).mean() >= 0.99
    assert off.max() < 0.5
    assert np.abs(found[..., 2] - expected[..., 2]).max() < 0.005


@pytest.mark.long
@pytest.mark.full
@pytest.mark.parametrize("name", WITHOUT_GOLDEN)
def test_without_a_golden_the_keypoints_of_plain_paddle(exported, options, paths, rng, name):
    spec = Zoo.default().find(name, exported(name))
    images = [item.image for path in paths for item in read_items(path)]
    with PlainPaddle().load(spec.files, options) as session:
        expected, heatmaps = run_on(session, spec, images)
    rounding = 2e-3 if "lite_hrnet_30" in name else 1e-4  # the differences between runtimes in checks.json
    magnified = moved_by_rounding(heatmaps, [image.shape[1] for image in images], rng, rounding)
    for backend in RUNTIMES:
        with BACKENDS[backend].load(spec.files, options) as session:
            found, others = run_on(session, spec, images)
        assert np.abs(others - heatmaps).max() < rounding
        assert_close(found, expected, magnified)


@pytest.fixture(scope="module")
def converted(exported, tmp_path_factory):
    """The smallest model as a folder with ONNX alone."""
    spec, folder = read_model(exported(LITE[0])), tmp_path_factory.mktemp("converted")
    convert(LITE[0], spec.files.paddle, folder / "model.onnx")
    (folder / "infer_cfg.yml").write_text(spec.yml.read_text())
    return folder


@pytest.mark.long
@pytest.mark.full
@pytest.mark.parametrize("only", ["onnx", "onnx without argmax"])
def test_onnx_of_an_export(exported, converted, paths, tmp_path, only):
    """Outputs go by position: PaddleDetection's second one, the place of the maximum, is not needed."""
    import onnx

    name, folder = LITE[0], converted
    if only != "onnx":
        model = onnx.load(converted / "model.onnx")
        del model.graph.output[1]
        folder = shutil.copytree(converted, tmp_path / "without_argmax")
        onnx.save(model, folder / "model.onnx")
    found = []
    for model_dir, backend in ((exported(name), "onnxruntime"), (folder, "onnxruntime"), (folder, "openvino")):
        with Predictor(name, model_dir=model_dir, backend=backend) as predictor:
            found.append(keypoints_of(predictor.predict(paths)))
    assert np.array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() < 0.1


@pytest.mark.long
@pytest.mark.full
def test_a_graph_that_decodes_itself(exported, converted, paths, tmp_path):
    """Its output is keypoints in pixels of the input, as its yml says."""
    import onnx

    name = LITE[0]
    decode = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["": 13]>
    decode (float[N, 17, 64, 48] heatmaps) => (float[N, 17, 3] keypoints)
    <int64[3] flat = {0, 0, -1}, int64[1] width = {48}, float stride = {4.0}>
    {
        cells = Reshape (heatmaps, flat)
        score = ReduceMax <axes = [2]> (cells)
        index = ArgMax <axis = 2> (cells)
        y = Div (index, width)
        rows = Mul (y, width)
        x = Sub (index, rows)
        place = Concat <axis = 2> (x, y)
        cell = Cast <to = 1> (place)
        pixels = Mul (cell, stride)
        keypoints = Concat <axis = 2> (pixels, score)
    }
    """)
    heatmaps = onnx.load(converted / "model.onnx")
    del heatmaps.graph.output[1]
    heatmaps.ir_version = decode.ir_version
    joined = onnx.compose.merge_models(heatmaps, decode, [(heatmaps.graph.output[0].name, "heatmaps")])
    folder = shutil.copytree(converted, tmp_path / "decoding")
    onnx.save(joined, folder / "model.onnx")
    with pytest.raises(HpiError, match=r"hpi: \{head: \{type: keypoints\}\}"):
        Predictor(name, model_dir=folder)
    with (folder / "infer_cfg.yml").open("a") as yml:
        yml.write("hpi: {skeleton: coco17, head: {type: keypoints}}\n")
    with (
        Predictor(name, model_dir=folder) as itself,
        Predictor(name, model_dir=exported(name), backend=itself.backend, use_dark=False) as outside,
    ):
        found, expected = (keypoints_of(one.predict(paths)) for one in (itself, outside))
    quarter = [image.image.shape[1] / 48 / 4 for path in paths for image in read_items(path)]
    assert (np.abs(found - expected)[..., :2].max(axis=(1, 2)) <= np.multiply(quarter, 1.001)).all()
    assert np.array_equal(found[..., 2], expected[..., 2])


@pytest.mark.full
def test_the_graph_may_have_a_fixed_batch_of_one(converted, paths, tmp_path):
    import onnx

    name, folder = LITE[0], shutil.copytree(converted, tmp_path / "fixed")
    boxes = [[[20, 30, 200, 400], [100, 30, 300, 420]], [[0, 0, 640, 404]] * 3]
    found = []
    for batch in (None, 1, 4):
        if batch:
            model = onnx.load(folder / "model.onnx")
            model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
            onnx.save(model, folder / "model.onnx")
        if batch == 4:
            with pytest.raises(BackendError, match=r"fixed batch of \['4'\]; export it with a dynamic batch"):
                Predictor(name, model_dir=folder, backend="onnxruntime")
            continue
        with Predictor(name, model_dir=folder, backend="onnxruntime") as predictor:
            results = list(predictor.predict(paths, boxes=boxes))
            found.append(np.concatenate([one.keypoints for one in results]))
    assert np.abs(found[0] - found[1]).max() < 0.1


# Paddle with oneDNN


@pytest.fixture
def asked(options):
    return Request(options, backend="paddle")


@pytest.fixture
def wrong_onednn(monkeypatch, options, tmp_path):
    """Paddle's own choice of passes, and no verdicts of other tests."""
    from hpi.backends.artifacts import ArtifactCache

    monkeypatch.setattr(hpi.backends.paddle, "_WRONG_PASSES", ())
    return Request(type(options)(ArtifactCache(tmp_path / "artifacts"), threads=2), backend="paddle")


@pytest.mark.long
@pytest.mark.full
@pytest.mark.parametrize("name", LITE)
def test_paddle_with_onednn_is_not_used_unproved(exported, wrong_onednn, tmp_path, name):
    """Its own passes make the heatmaps of Lite-HRNet wrong, silently: so it is refused, also where it is asked for."""
    spec = Zoo.default().find(name, exported(name))
    choice = choose(spec, wrong_onednn, Priors(tmp_path / "priors.json"))
    with choice.session as session:
        assert session.info.variant == Variant(profile="without onednn")
        assert session.info.notes[0] == "without oneDNN"
    (reason,) = choice.rejected.values()
    assert list(choice.rejected) == ["paddle fp32"]
    assert "it does not give the reference's results" in reason
    assert " px" in reason


@pytest.mark.full
@pytest.mark.parametrize("name", ["lite_hrnet_18_256x192_coco", "wider_naive_hrnet_18_256x192_coco"])
def test_paddle_with_onednn_is_used_where_it_is_proved(exported, asked, tmp_path, name):
    spec = Zoo.default().find(name, exported(name))
    choice = choose(spec, asked, Priors(tmp_path / "priors.json"))
    with choice.session as session:
        assert session.info.variant == Variant()
        assert session.info.notes[0] == "oneDNN"
    assert choice.rejected == {}


@pytest.mark.full
def test_nothing_to_compare_is_no_proof(exported, asked, tmp_path, monkeypatch):
    """A model that is sure of nothing in the reference images runs on plain Paddle."""
    from hpi.models.reference_images import ReferenceImages

    config = ReferenceImages.load().config
    unsure = ReferenceImages(config.model_copy(update={"clear_above": 1e9}))
    monkeypatch.setattr("hpi.models.model.ReferenceImages.load", lambda: unsure)
    monkeypatch.setattr("hpi.models.topdown.CLEAREST", 1)  # then not even its best keypoint is compared
    spec = Zoo.default().find(LITE[0], exported(LITE[0]))
    choice = choose(spec, asked, Priors(tmp_path / "priors.json"))
    with choice.session as session:
        assert session.info.variant == Variant(profile="without onednn")
    assert "nothing to compare" in choice.rejected["paddle fp32"]


def test_plain_paddle_comes_last_of_the_candidates(exported, asked):
    spec = Zoo.default().find(LITE[0], exported(LITE[0]))
    assert [str(one.candidate) for one in rank(spec, asked, None)] == ["paddle fp32", "paddle fp32 without onednn"]
