"""Predict the images of a dataset, with a journal from which a later run continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hpi.errors import BackendError, ConfigError, InputError
from hpi.instances import Skeleton
from hpi.predictor import Predictor
from hpi.results import Result

Box = tuple[float, float, float, float]
Figures = dict[str, float | None]
"""Name of a measure and its value: percent, or a whole number; None where the dataset has nobody that it is for."""


@dataclass(frozen=True)
class Person:
    """A person of an image: annotated, or found by a model.

    Attributes:
        box: (x1, y1, x2, y2), pixels of the image.
        score: of the box; 1 if it is annotated.
        annotation: id of the annotated person whose box this is; None if a detector found the box.
        keypoints: ``[K, 3]`` float32: x, y in pixels of the image, score; ``K = 0`` without a keypoint model.

    Example:
        >>> person = Person(box=(10, 20, 40, 60), annotation=7)
        >>> person.score, person.keypoints.shape
        (1.0, (0, 3))
    """

    box: Box
    score: float = 1.0
    annotation: int | None = None
    keypoints: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 3), np.float32))


Predictions = dict[int, list[Person]]
"""The people of each predicted image, by the number of the image in the dataset."""

_CURRENT_KEYS = {"photo": "image", "joints": "keypoints"}
"""The keys of a journal of version 0.1, and what they are called now."""


@dataclass(frozen=True)
class DatasetImage:
    """An image of a dataset.

    Attributes:
        number: of the image in the dataset.
        path: its file.
        size: (width, height) in pixels according to the annotations; None if they do not say.
        given: the people whose keypoints to find; None if the predictor has to find the people.

    Example:
        >>> DatasetImage(1, Path("a.png"), (640, 480), given=[Person((10, 20, 40, 60))]).given[0].box
        (10, 20, 40, 60)
    """

    number: int
    path: Path
    size: tuple[int, int] | None
    given: list[Person] | None


@dataclass(frozen=True)
class Case:
    """How well a prediction matches one annotated person.

    Attributes:
        path: of the image.
        annotation: id of the person.
        measure: what ``value`` is: ``"OKS"`` or ``"PCKh"``.
        value: in [0, 1]; 1 is perfect.
        error: mean distance of the keypoints, relative to the size of the person; ranks people of equal ``value``.
        box: of the person, pixels.
        truth: ``[K, 3]`` float32: x, y in pixels, 1 for labelled keypoints and 0 for the others.
        skeleton: of ``truth``.
        found: ``[J, 3]`` float32, the predicted keypoints; None without a prediction.
        pairs: ``[M, 2, 2]`` float32: true and predicted position of each keypoint that counts.

    Example:
        >>> points, pairs = np.ones((1, 3), np.float32), np.ones((1, 2, 2), np.float32)
        >>> case = Case(Path("a.png"), 7, "OKS", 0.9, 0.1, (0, 0, 8, 8), points, Skeleton.numbered(1), points, pairs)
        >>> f"{case.measure} {case.value} of person {case.annotation}"
        'OKS 0.9 of person 7'
    """

    path: Path
    annotation: int
    measure: str
    value: float
    error: float
    box: Box
    truth: NDArray[np.float32]
    skeleton: Skeleton
    found: NDArray[np.float32] | None
    pairs: NDArray[np.float32]


def require_keypoints(predictor: Predictor, skeletons: Sequence[Sequence[str]], reason: str) -> None:
    """Check, before any image is predicted, that a model finds the keypoints that are measured.

    Args:
        predictor: of a pipeline that finds keypoints.
        skeletons: names of the keypoints that can be measured, in their order; one list, or several.
        reason: why only these can be measured, for the message.

    Raises:
        ConfigError: the model has other keypoints.
    """
    pipeline = predictor.pipelines[0]
    skeleton, name = pipeline.skeleton, pipeline.models[-1].spec.name
    assert skeleton is not None  # it finds keypoints
    expected = next((one for one in skeletons if len(one) == len(skeleton)), None)
    if expected is None:
        raise ConfigError(f"{name}: the model has {len(skeleton)} keypoints, but {reason}")
    if skeleton.name and skeleton.keypoints != tuple(expected):  # keypoints without names cannot be checked
        raise ConfigError(f"{name}: its {len(skeleton)} keypoints are not those that are measured: {reason}")


class Dataset(Protocol):
    """Annotated images, and how predictions are measured against them.

    Attributes:
        title: name of the dataset.
        protocol: how the figures are computed.
        images: those whose files exist.
        counts: how many images, people or boxes were left out, by reason.
        threshold: people that score less do not matter.
    """

    title: str
    protocol: str
    threshold: float
    images: list[DatasetImage]
    counts: dict[str, int]

    def check(self, predictor: Predictor) -> list[str]:
        """Check, before any image is predicted, that this predictor can be measured.

        Returns:
            Warnings about the figures, a sentence each.

        Raises:
            HpiError: it cannot be measured.
        """
        ...

    def figures(self, predictions: Predictions, predictor: Predictor) -> Figures:
        """The figures of the predictions of this predictor."""
        ...

    def cases(self, predictions: Predictions) -> list[Case]:
        """Every annotated person of the predicted images."""
        ...


class Journal:
    """A file with one line of JSON per image, written as results arrive.

    An incomplete last line, of an interrupted run, is ignored. Without a path nothing is written; ``fresh`` empties an
    existing file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "journal.jsonl")
        ...     with Journal(path) as journal:
        ...         journal.append(1, [Person((10, 20, 40, 60), score=0.5)])
        ...     [person.score for person in Journal(path).read()[1]]
        [0.5]
    """

    def __init__(self, path: Path | None, *, fresh: bool = False) -> None:
        self._path = path
        self._mode: Literal["wb+", "ab+"] = "wb+" if fresh else "ab+"
        self._stream: BinaryIO | None = None

    def read(self) -> Predictions:
        """The predictions of earlier runs.

        Raises:
            ConfigError: the file cannot be read, or is not a journal.
        """
        if self._path is None or not self._path.exists():
            return {}
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be read: {error.strerror or error}") from error
        found: Predictions = {}
        for number, line in enumerate(lines, 1):
            try:
                content = json.loads(line, object_hook=_with_current_keys)
                found[int(content["image"])] = [_person(one) for one in content["people"]]
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                raise ConfigError(f"{self._path}: line {number} is damaged; start over with --fresh") from error
        return found

    def append(self, image: int, people: Iterable[Person]) -> None:
        """Write the results of an image.

        Raises:
            ConfigError: the file cannot be written.
        """
        if self._stream is None:
            return
        line = json.dumps({"image": image, "people": [_plain(person) for person in people]})
        try:
            self._stream.write(f"{line}\n".encode())
            self._stream.flush()
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> Journal:
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = self._path.open(self._mode)
                _drop_incomplete_line(self._stream)
            except OSError as error:
                raise ConfigError(f"{self._path}: cannot be written: {error.strerror or error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()


def predict(
    predictor: Predictor,
    images: Sequence[DatasetImage],
    journal: Journal,
    batch_size: int,
    *,
    threshold: float = 0,
    on_error: Callable[[InputError], None],
    on_progress: Callable[[], None] = lambda: None,
) -> Predictions:
    """Predict images in batches, and write the results of each image to the journal.

    Args:
        predictor: a keypoint model if the images have boxes; else a pipeline or a detector.
        images: each with a different path.
        journal: where the results are written.
        batch_size: images per batch.
        threshold: of people that are found.
        on_error: called with the error of each image that cannot be used; the image is skipped.
        on_progress: called once for each image, used or skipped.

    Returns:
        The people of all images that were not skipped.

    Raises:
        BackendError: a runtime failed, or returned NaN.
        ConfigError: the journal cannot be written.

    Example:
        >>> given = [Person((360, 60, 640, 720), annotation=7)]
        >>> images = [DatasetImage(1, Path("examples/basketball.png"), None, given)]
        >>> with Predictor("MoveNet-Thunder_256x256") as predictor:
        ...     found = predict(predictor, images, Journal(None), batch_size=8, on_error=print)
        >>> [(person.annotation, person.keypoints.shape) for person in found[1]]
        [(7, (17, 3))]
    """
    found: Predictions = {image.number: [] for image in images if image.given == []}
    waiting = [image for image in images if image.given != []]
    for _ in found:
        on_progress()
    for image, result in _results(predictor, waiting, batch_size, threshold, on_error, on_progress):
        if reason := _mismatch(image, result):
            on_error(InputError(f"{image.path}: {reason}"))
        else:
            people = _people(image, result)
            journal.append(image.number, people)
            found[image.number] = people
        on_progress()
    return found


def _mismatch(image: DatasetImage, result: Result) -> str | None:
    """Why an image cannot be the annotated one; None if it can be."""
    height, width = result.image.shape[:2]
    if result.frame.page is not None or result.frame.index is not None:
        return "the file has more than one image; save the annotated one in a file of its own"
    if image.size is None or image.size == (width, height):
        return None
    return (
        f"the image has {width}x{height} pixels (after EXIF rotation), but the annotations are for "
        f"{image.size[0]}x{image.size[1]}"
    )


def _results(
    predictor: Predictor,
    images: Sequence[DatasetImage],
    batch_size: int,
    threshold: float,
    on_error: Callable[[InputError], None],
    on_progress: Callable[[], None],
) -> Iterator[tuple[DatasetImage, Result]]:
    """The first result of each image that has one."""

    def report(error: InputError) -> None:
        on_error(error)
        on_progress()

    given = [[person.box for person in image.given] for image in images if image.given is not None]
    results = predictor.predict(
        [str(image.path) for image in images],
        batch_size=batch_size,
        threshold=None if given else threshold,
        boxes=given or None,
        on_error=report,
    )
    by_path = {str(image.path): image for image in images}
    for result in results:
        if image := by_path.pop(result.path or "", None):
            yield image, result


def _people(image: DatasetImage, result: Result) -> list[Person]:
    found = result.instances
    points = np.empty((len(found), 0, 3), np.float32) if found.keypoints is None else found.points
    if image.given is None:
        rows = zip(result.boxes.tolist(), found.scores.tolist(), points, strict=True)
        people = [Person(_box(box), score, keypoints=keypoints) for box, score, keypoints in rows]
    else:
        people = [replace(given, keypoints=keypoints) for given, keypoints in zip(image.given, points, strict=True)]
    for person in people:
        if not _is_finite(person):
            raise BackendError(f"{image.path}: the model returned NaN or infinity for this image")
    return people


def _box(corners: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in corners)
    return x1, y1, x2, y2


def _with_current_keys(content: dict[str, object]) -> dict[str, object]:
    return {_CURRENT_KEYS.get(key, key): value for key, value in content.items()}


def _plain(person: Person) -> dict[str, object]:
    # Through text, a float32 becomes the shortest decimal that reads back as the same float32.
    keypoints = person.keypoints.astype(str).astype(float).tolist()
    return {"box": person.box, "score": person.score, "annotation": person.annotation, "keypoints": keypoints}


def _person(content: dict[str, object]) -> Person:
    keypoints = np.array(content["keypoints"], np.float32).reshape(-1, 3)
    annotation = content["annotation"]
    person = Person(
        _box(content["box"]),  # type: ignore[arg-type]
        float(content["score"]),  # type: ignore[arg-type]
        None if annotation is None else int(annotation),  # type: ignore[call-overload]
        keypoints,
    )
    if not _is_finite(person):  # pycocotools would count it as a perfect match
        raise ValueError
    return person


def _is_finite(person: Person) -> bool:
    return bool(np.isfinite(person.keypoints).all() and np.isfinite([*person.box, person.score]).all())


def _drop_incomplete_line(stream: BinaryIO) -> None:
    stream.seek(0)
    content = stream.read()
    stream.truncate(content.rfind(b"\n") + 1)
    stream.seek(0, 2)
