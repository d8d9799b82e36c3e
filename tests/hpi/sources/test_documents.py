"""Pages and frames: a file of several images yields all of them."""

import builtins
import io
import json

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from hpi import InputError, Predictor
from hpi.sources import count_items, decode_image


@pytest.fixture
def pages(image):
    """Three pages of different sizes, BGR."""
    return [image[: 300 + 20 * index, : 400 + 20 * index] for index in range(3)]


@pytest.fixture
def document(tmp_path):
    """Writes pages into one file."""

    def write(name, pages, **options):
        first, *rest = (Image.fromarray(page[..., ::-1]) for page in pages)
        first.save(tmp_path / name, save_all=True, append_images=rest, **options)
        return tmp_path / name

    return write


# TIFF


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"compression": "tiff_lzw"}, {"compression": "zstd"}])
def test_every_page_of_a_tiff_is_an_image(document, items, pages, options):
    found = items(document("pages.tif", pages, **options))
    assert [item.page for item in found] == [0, 1, 2]
    assert all(np.array_equal(item.image, page) for item, page in zip(found, pages, strict=True))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_pages_of_more_than_8_bits(tmp_path, items, pages, dtype):
    scale = {np.uint16: 257, np.float32: 1 / 255}[dtype]
    cv2.imwritemulti(str(tmp_path / "a.tif"), [(page * dtype(scale)).astype(dtype) for page in pages])
    found = items(tmp_path / "a.tif")
    assert all(np.array_equal(item.image, page) for item, page in zip(found, pages, strict=True))


def test_a_tiff_of_one_page_has_no_page_number(document, items, pages):
    (item,) = items(document("one.tif", pages[:1]))
    assert item.page is None


def with_subfile_types(data, types):
    """A TIFF with subfile types: 1 is a thumbnail of another page, 4 a mask."""
    directory = ImageFileDirectory_v2(data[:8])
    stream, out = io.BytesIO(data), bytearray(data)
    for kind in types:
        start = directory.next
        stream.seek(start)
        directory.load(stream)
        tags = range(start + 2, start + 2 + 12 * len(directory), 12)
        entry = next(entry for entry in tags if out[entry : entry + 2] == (254).to_bytes(2, "little"))
        out[entry + 8 : entry + 12] = kind.to_bytes(4, "little")
    return bytes(out)


def test_thumbnails_and_masks_are_not_pages(document, items, pages):
    path = document("pyramid.tif", [pages[0], *pages], tiffinfo={254: 0})
    path.write_bytes(with_subfile_types(path.read_bytes(), [0, 1, 0, 4]))
    found = items(path)
    assert [item.image.shape for item in found] == [pages[0].shape, pages[1].shape]
    assert [item.page for item in found] == [0, 1]


def test_a_cycle_of_pages_ends(document, items, pages):
    path = document("circle.tif", pages[:1])
    data = bytearray(path.read_bytes())
    start = int.from_bytes(data[4:8], "little")
    after = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    data[after : after + 4] = start.to_bytes(4, "little")
    path.write_bytes(data)
    assert len(items(path)) == 1


@pytest.mark.parametrize("layout", ["white_is_zero", "planes"])
def test_deep_layouts_that_opencv_misreads(tmp_path, items, image, layout):
    """It assumes that black is zero, and that channels are interleaved."""
    grey = image[..., 0].astype(np.uint16) * 257
    tags = ImageFileDirectory_v2()
    rows = {
        "white_is_zero": (1, (16,), 0, 65535 - grey),
        "planes": (3, (16, 16, 16), 2, np.moveaxis(image[..., ::-1].astype(np.uint16) * 257, 2, 0)),
    }
    samples, bits, colour, pixels = rows[layout]
    height, width = image.shape[:2]
    content = np.ascontiguousarray(pixels, "<u2").tobytes()
    size = len(content) // samples
    offsets = tuple(8 + size * index for index in range(samples))
    for tag, value in {256: width, 257: height, 258: bits, 259: 1, 262: colour, 273: offsets, 277: samples, 278: height,
                       279: (size,) * samples, 284: 2 if layout == "planes" else 1}.items():  # fmt: skip
        tags[tag] = value
    stream = io.BytesIO()
    stream.write(b"II*\0" + (8 + len(content)).to_bytes(4, "little") + content)
    tags.save(stream)
    (tmp_path / "a.tif").write_bytes(stream.getvalue())
    (item,) = items(tmp_path / "a.tif")
    expected = image if layout == "planes" else image[..., [0, 0, 0]]
    assert isinstance(item.image, InputError) or np.abs(item.image.astype(int) - expected).max() <= 1


def test_a_damaged_page_ends_the_document_with_an_error(document, items, pages):
    path = document("cut.tif", pages)
    path.write_bytes(path.read_bytes()[:-1000])
    found = items(path)
    assert isinstance(found[-1].image, InputError)
    assert 0 < len(found) <= 3


def test_results_of_pages_have_numbers_and_names(lite, document, pages, tmp_path):
    results = list(lite.predict(str(document("pages.tif", pages)), batch_size=2))
    assert [result["page_index"] for result in results] == [0, 1, 2]
    for result in results:
        result.save_all(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"pages_{index}_res.{suffix}" for index in range(3) for suffix in ("json", "tif")
    }
    assert json.loads((tmp_path / "out" / "pages_1_res.json").read_text())["page_index"] == 1


def test_boxes_need_one_image_per_input(home, document, pages, image):
    path = str(document("pages.tif", pages))
    boxes = [[[39, 77, 160, 478]]] * 2
    errors = []
    with Predictor("MoveNet-Thunder_256x256") as predictor:
        (result,) = predictor.predict([path, image], boxes=boxes, on_error=errors.append)
        with pytest.raises(InputError, match="list of images"):
            predictor.predict(iter([image]), boxes=boxes)
    assert result["input_path"] is None
    assert "more than one image" in str(errors[0])


# Animations


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options"), [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {}), ("a.avif", {})]
)
def test_every_frame_of_an_animation_is_an_image(document, items, image, name, options):
    frames = [np.roll(image, 60 * index, axis=1) for index in range(3)]
    found = items(document(name, frames, **options))
    assert [item.frame for item in found] == [0, 1, 2]
    assert all(np.abs(item.image.astype(int) - frame).mean() < 5 for item, frame in zip(found, frames, strict=True))


def test_results_of_frames_have_numbers_and_names(lite, document, image, tmp_path):
    path = document("walk.gif", [image, np.roll(image, 60, axis=1)])
    results = list(lite.predict(path))
    assert [result["frame_index"] for result in results] == [0, 1]
    assert [result.save_to_img(tmp_path).name for result in results] == ["walk_000000_res.jpg", "walk_000001_res.jpg"]


def test_an_animation_cut_between_two_frames_is_an_error(document, items, image):
    path = document("a.gif", [image, np.roll(image, 60, axis=1), image])
    content = path.read_bytes()
    assert len(items(path)) == 3
    path.write_bytes(content[:-1])
    found = items(path)
    assert [item.frame for item in found[:3]] == [0, 1, 2]
    assert "truncated" in str(found[-1].image)


def test_decode_image_takes_the_first_of_several(document, pages, caplog):
    """For callers that need one image, such as the service."""
    image = decode_image(document("pages.tif", pages).read_bytes(), "pages.tif")
    assert np.array_equal(image, pages[0])
    assert "only the first is used" in caplog.text


def test_auxiliary_images_of_a_jpeg_are_ignored(tmp_path, items, image, caplog):
    """Cameras put previews, depth and brightness maps into the same JPEG."""
    main, map_ = Image.fromarray(image[..., ::-1]), Image.new("RGB", (32, 24))
    main.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[map_])
    (item,) = items(tmp_path / "a.jpg")
    assert item.image.shape == image.shape
    assert not caplog.text


# PDF


@pytest.fixture
def pdfium():
    """The package that reads PDFs."""
    return pytest.importorskip("pypdfium2")


def test_every_page_of_a_pdf_is_an_image(lite, pdfium, document, pages, tmp_path):
    """At 144 dpi, pixel for pixel as PaddleX renders it."""
    path = document("doc.pdf", pages, resolution=144)
    results = list(lite.predict(str(path)))
    assert [result["page_index"] for result in results] == [0, 1, 2]
    for index, (result, page) in enumerate(zip(results, pages, strict=True)):
        rendered = pdfium.PdfDocument(path)[index].render(scale=2).to_numpy()
        assert np.array_equal(result["input_img"], rendered)
        assert result["input_img"].shape == page.shape
        assert np.abs(result["input_img"].astype(int) - page).mean() < 10
    assert results[1].save_to_img(tmp_path / "out").name == "doc_1_res.png"
    assert count_items(str(path)) == 1


def test_pdfs_are_recognised_by_their_content(pdfium, document, items, pages):
    content = document("doc.pdf", pages[:1]).read_bytes()
    for source in (content, b"\n" * 100 + content):
        (item,) = items(source)
        assert item.page == 0
    with pytest.raises(InputError, match="a PDF"):
        decode_image(content, "doc")


@pytest.mark.full
def test_pages_too_large_are_rendered_smaller(pdfium, items, tmp_path):
    document = pdfium.PdfDocument.new()
    document.new_page(14_400, 14_400)
    document.save(tmp_path / "large.pdf")
    (item,) = items(tmp_path / "large.pdf")
    assert 13_000 < item.image.shape[0] < 13_400


def test_a_pdf_without_pages_is_an_error(pdfium, only_error, tmp_path):
    pdfium.PdfDocument.new().save(tmp_path / "empty.pdf")
    assert "damaged PDF" in only_error(tmp_path / "empty.pdf")


@pytest.mark.parametrize("content", [b"%PDF-1.7\nnothing", b"%PDF-"])
def test_a_damaged_pdf_is_an_error(pdfium, only_error, content):
    assert "damaged PDF" in only_error(content)


def test_pdfs_name_the_missing_package(monkeypatch, only_error):
    imported = builtins.__import__

    def without(name, *rest):
        if name == "pypdfium2":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert 'pip install "hpi-pose[formats]"' in only_error(b"%PDF-1.7\n")
