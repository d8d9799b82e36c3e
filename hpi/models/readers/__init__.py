"""Readers: the files of a model become a :class:`hpi.models.spec.ModelSpec`; one file a format.

A reader is a pair of functions. One says whether files have its format. The other makes a
:class:`~hpi.models.readers.reading.Reading` of them, and raises a ModelError where something is missing or contradicts.
A new format needs its file and a line here. Those of a lone graph are given the graph instead of a path: its header is
read once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from hpi.errors import HpiError, ModelError
from hpi.heads.dets import DetsHead
from hpi.heads.heatmap import HeatmapHead
from hpi.models.description import NAME
from hpi.models.readers import huggingface, mmdeploy, own, paddle, plain_onnx, ultralytics
from hpi.models.readers.foreign import what_to_do
from hpi.models.readers.graph import Graph, lone_graph
from hpi.models.readers.reading import Hints, Reading
from hpi.models.readers.skeletons import stated
from hpi.models.spec import ASKED_FOR, STATED, ModelSpec
from hpi.skeletons import load_skeleton

__all__ = ["DESCRIPTIONS", "READERS", "Hints", "Reader", "Reading", "read", "read_model"]


Files = TypeVar("Files", Path, Graph)


@dataclass(frozen=True)
class Reader(Generic[Files]):
    """One format, of a path or of a graph that lies alone.

    Attributes:
        format: what it is called.
        needs: what there must be, in a few words.
        has: whether it is this one; of a path by the names of files, of a graph by its metadata.
        read: the path or the graph, name and hints become a reading.

    Example:
        >>> READERS[0].format, READERS[-1].format
        ('ONNX graph with hpi.yml', 'plain ONNX file')
    """

    format: str
    needs: str
    has: Callable[[Files], bool]
    read: Callable[[Files, str | None, Hints], Reading]


OWN = Reader(own.FORMAT, f"{NAME} and a graph", own.is_own, own.read_own)
FOLDERS = (
    Reader(paddle.FORMAT, "inference.yml or infer_cfg.yml, and the model", paddle.is_paddle, paddle.read_paddle),
    Reader(
        mmdeploy.FORMAT, "deploy.json, pipeline.json and end2end.onnx", mmdeploy.is_mmdeploy, mmdeploy.read_mmdeploy
    ),
    Reader(
        huggingface.FORMAT,
        "preprocessor_config.json and model.onnx",
        huggingface.is_huggingface,
        huggingface.read_huggingface,
    ),
)
"""Formats that a file beside the graph tells from each other."""
GRAPHS = (
    Reader(ultralytics.FORMAT, "its metadata", ultralytics.is_ultralytics, ultralytics.read_ultralytics),
    Reader(plain_onnx.FORMAT, "a known family", lambda graph: True, plain_onnx.read_plain),
)
"""Formats of a graph alone; the last one takes what no other does."""
READERS = (OWN, *FOLDERS, *GRAPHS)
DESCRIPTIONS = (
    NAME, *paddle.YML_NAMES, mmdeploy.PIPELINE, mmdeploy.DEPLOY, mmdeploy.DETAIL, huggingface.PREPROCESSOR,
    huggingface.CONFIG,
)  # fmt: skip
"""Names of the files beside a graph that say what it is."""


def read(path: Path, name: str | None = None, hints: Hints | None = None) -> Reading:
    """Read the files of a model, and say what they were taken for.

    An ``hpi.yml`` wins: somebody wrote it. Two other formats in one folder are an error.

    Args:
        path: a folder, or a file in one.
        name: the name it must have, where its files state one; by default theirs, else the folder's.
        hints: what its files do not say.

    Raises:
        ModelError: no reader knows the format, a file is missing, plainly damaged or cannot be read, or it is not clear
            what is meant; the message names file and field.
        ConfigError: the hints name something that does not exist.

    Example:
        >>> from hpi.zoo import Zoo
        >>> read(Zoo.default().find("MoveNet-Thunder_256x256").folder).spec.input_size
        (256, 256)
    """
    hints = hints or Hints()
    if hints.kind is not None:
        plain_onnx.check_kind(hints.kind)
    try:
        if hints.description is not None:
            return _of_skeleton(own.read_described(path, name, hints.description))
        return _of_skeleton(_as_hinted(_read_path(path, name, hints), hints))
    except HpiError:
        raise
    except OSError as error:
        raise ModelError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error


def _read_path(path: Path, name: str | None, hints: Hints) -> Reading:
    """A reading by the one format that fits."""
    if (reader := _reader_of(path)) is not None:
        return reader.read(path, name, hints)
    if (graph := lone_graph(path)) is not None:
        return next(reader for reader in GRAPHS if reader.has(graph)).read(graph, name, hints)
    return _read_unknown(path, name, hints)


def _reader_of(path: Path) -> Reader[Path] | None:
    """The reader of the files beside a graph; None where there are none."""
    if OWN.has(path):
        return OWN
    found = [reader for reader in FOLDERS if reader.has(path)]
    if len(found) > 1:
        named = " and ".join(f"{reader.format} ({reader.needs})" for reader in found)
        raise ModelError(
            f"{path}: has the files of {named}; keep those of one, or write an {NAME}, which outranks them"
        )
    return found[0] if found and path.exists() else None


def _read_unknown(path: Path, name: str | None, hints: Hints) -> Reading:
    """What Paddle's reader makes of a path: a folder in a folder, or the reason why it is none."""
    if path.is_file() and not paddle.is_part(path):
        raise ModelError(f"{path}: {what_to_do(path)}")
    try:
        return paddle.read_paddle(path, name, hints)
    except ModelError as error:
        if not path.is_dir() or any(path.glob("*.pd*")):
            raise
        others = "; ".join(f"{reader.format}: {reader.needs}" for reader in READERS if reader.format != paddle.FORMAT)
        raise type(error)(f"{error}. Other formats need: {others}") from error


def _as_hinted(reading: Reading, hints: Hints) -> Reading:
    """A reading that agrees with the hints, and has the skeleton that they name.

    Raises:
        ModelError: it contradicts them.
    """
    spec = reading.spec
    if hints.kind is not None and not _is_kind(spec, hints.kind):
        raise ModelError(f"{spec.yml}: it is no {hints.kind}: its outputs are read as {spec.head.type}; leave kind out")
    if hints.skeleton is None:
        return reading
    skeleton = load_skeleton(hints.skeleton)
    if not spec.head.finds_keypoints:
        raise ModelError(f"{spec.yml}: a detector has no skeleton; leave {hints.skeleton} out")
    if spec.skeleton_is == STATED and spec.skeleton is not None and spec.skeleton.name != skeleton.name:
        raise ModelError(f"{spec.yml}: names the skeleton {spec.skeleton.name}, but {skeleton.name} was asked for")
    named = reading.description and reading.description.model_copy(update={"skeleton": stated(hints.skeleton)})
    return replace(reading, spec=replace(spec, skeleton=skeleton, skeleton_is=ASKED_FOR), description=named)


def _of_skeleton(reading: Reading) -> Reading:
    """A reading whose head knows what the skeleton says."""
    spec = reading.spec
    try:
        return replace(reading, spec=replace(spec, head=spec.head.of_skeleton(spec.skeleton)))
    except ValueError as error:
        raise ModelError(f"{spec.yml}: head: {error}") from error


def _is_kind(spec: ModelSpec, kind: str) -> bool:
    """Whether a model is of a kind, as far as its head and what it is fed with tell."""
    head = spec.head
    if head.type not in plain_onnx.KINDS[kind].heads:
        return False
    if kind == "vitpose":
        return isinstance(head, HeatmapHead) and head.align == "corners"
    if isinstance(head, DetsHead):  # a YOLOX takes the levels as they are
        return (kind == "yolox") != (spec.normalization is not None and any(spec.normalization.shift))
    return True


def read_model(path: Path, name: str | None = None, hints: Hints | None = None) -> ModelSpec:
    """What :func:`read` makes of the files of a model.

    Example:
        >>> from hpi.zoo import Zoo
        >>> spec = read_model(Zoo.default().find("MoveNet-Thunder_256x256").folder)
        >>> spec.name, spec.input_size
        ('MoveNet-Thunder_256x256', (256, 256))
    """
    return read(path, name, hints).spec
