"""Predicting a dataset photo by photo, in a file that a later run goes on with."""

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
from hpi.results import DetectionResult, Result
from hpi.tasks.keypoints import KeypointEstimator

Box = tuple[float, float, float, float]
Figures = dict[str, float | None]
"""Name of a measure and its value in percent; None where the dataset has nobody that it is for."""


@dataclass(frozen=True)
class Person:
    """Someone to look at, or found.

    Attributes:
        box: (x1, y1, x2, y2), pixels of the photo.
        score: of the box; 1 for an annotated one.
        annotation: the annotated person whose box this is; None where a detector found it.
        joints: ``[K, 3]`` float32: x, y in pixels of the photo, score; ``K = 0`` without a keypoint model.
    """

    box: Box
    score: float = 1.0
    annotation: int | None = None
    joints: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 3), np.float32))


Predictions = dict[int, list[Person]]
"""The people of each photo that was looked at, by the photo's number in the dataset."""


@dataclass(frozen=True)
class Photo:
    """One photo of a dataset.

    Attributes:
        number: which it is in the dataset.
        path: its file.
        size: (width, height) in pixels that the annotations are for; None where they do not say.
        given: the people whose joints to find; None where the predictor shall find the people.
    """

    number: int
    path: Path
    size: tuple[int, int] | None
    given: list[Person] | None


@dataclass(frozen=True)
class Case:
    """How well one annotated person was met.

    Attributes:
        path: the photo.
        annotation: the person.
        measure: what ``value`` is: ``"OKS"`` or ``"PCKh"``.
        value: in [0, 1]; 1 is perfect.
        error: tells people of the same value apart: mean distance of their joints, relative to their size.
        box: of the person, pixels.
        truth: ``[K, 3]`` float32: x, y in pixels, 1 for labelled joints and 0 for the others.
        skeleton: of ``truth``.
        found: ``[J, 3]`` float32, the predicted joints; None where there is no prediction.
        pairs: ``[M, 2, 2]`` float32: true and predicted place of each joint that counts.
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


def require_keypoints(estimator: KeypointEstimator, skeletons: Sequence[Sequence[str]], because: str) -> None:
    """Look, before the work, whether a model finds the keypoints that are measured.

    Args:
        estimator: the model; what it finds in an empty image tells how many keypoints it has.
        skeletons: names of the keypoints that can be measured, in their order; one list, or several.
        because: what a model with others is told.

    Raises:
        ConfigError: it finds others.
    """
    empty = np.zeros((64, 64, 3), np.uint8)
    (found,) = estimator.predict([empty], [estimator.whole_image(empty)])
    count, names = found.shape[1], list(estimator.skeleton.keypoints)
    expected = next((one for one in skeletons if len(one) == count), None)
    if expected is None:
        raise ConfigError(f"{estimator.spec.name}: the model has {count} joints, but {because}")
    if len(names) == count and names != list(expected):  # a skeleton of another length is not the model's own
        raise ConfigError(f"{estimator.spec.name}: its {count} keypoints are others than those measured: {because}")


class Dataset(Protocol):
    """Annotated photos, and how predictions are measured against them.

    Attributes:
        title: name of the dataset.
        protocol: how the figures come about.
        photos: those whose files are there.
        counts: what was left out, and how much of it.
    """

    title: str
    protocol: str
    photos: list[Photo]
    counts: dict[str, int]

    def check(self, predictor: Predictor) -> list[str]:
        """Look, before the work, whether this predictor can be measured; gives what one should know of the figures.

        Raises:
            HpiError: it cannot.
        """
        ...

    def figures(self, predictions: Predictions, predictor: Predictor) -> Figures:
        """The measures of predictions that this predictor made."""
        ...

    def cases(self, predictions: Predictions) -> list[Case]:
        """Every annotated person of the predicted photos."""
        ...


class Journal:
    """A file with a line of JSON for each photo, written as the results come.

    A last line without an end, of a run that was broken off, does not count. Without a path nothing is kept; ``fresh``
    empties what there is.
    """

    def __init__(self, path: Path | None, *, fresh: bool = False) -> None:
        self._path = path
        self._mode: Literal["wb+", "ab+"] = "wb+" if fresh else "ab+"
        self._stream: BinaryIO | None = None

    def read(self) -> Predictions:
        """What earlier runs have found.

        Raises:
            ConfigError: the file cannot be read, or is not one of these.
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
                content = json.loads(line)
                found[int(content["photo"])] = [_person(one) for one in content["people"]]
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                raise ConfigError(f"{self._path}: line {number} is damaged; --fresh starts anew") from error
        return found

    def append(self, photo: int, people: Iterable[Person]) -> None:
        """Add the results of a photo.

        Raises:
            ConfigError: the file cannot be written.
        """
        if self._stream is None:
            return
        line = json.dumps({"photo": photo, "people": [_plain(person) for person in people]})
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
                _cut_torn_line(self._stream)
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
    photos: Sequence[Photo],
    journal: Journal,
    batch_size: int,
    *,
    done: Callable[[], None] = lambda: None,
    failed: Callable[[InputError], None],
) -> Predictions:
    """Find the people of photos, several photos at a time, and note the results of each.

    Args:
        predictor: a keypoint model where the photos have boxes; else a pipeline or a detector, of which everything
            that it finds is taken, however little it scores.
        photos: each with a path of its own.
        journal: keeps the results.
        batch_size: photos that go together.
        done: called for each photo.
        failed: called for each photo that cannot be used, which is then left out; nothing is noted of it.

    Returns:
        The people of all photos but those.

    Raises:
        BackendError: a runtime failed, or gives numbers that are none.
        ConfigError: the journal cannot be written.
    """
    found: Predictions = {photo.number: [] for photo in photos if photo.given == []}
    waiting = [photo for photo in photos if photo.given != []]
    for _ in found:
        done()
    for photo, result in _results(predictor, waiting, batch_size, done, failed):
        if reason := _unlike_its_annotations(photo, result):
            failed(InputError(f"{photo.path}: {reason}"))
        else:
            people = _people(photo, result)
            journal.append(photo.number, people)
            found[photo.number] = people
        done()
    return found


def _unlike_its_annotations(photo: Photo, result: Result) -> str | None:
    height, width = result["input_img"].shape[:2]
    if result.get("page_index") is not None or "frame_index" in result:
        return "shows more than one image, where one is needed; save the annotated one alone"
    if photo.size is None or photo.size == (width, height):
        return None
    return (
        f"has {width}x{height} pixels as it is shown (EXIF orientation counts), but the annotations are for "
        f"{photo.size[0]}x{photo.size[1]}"
    )


def _results(
    predictor: Predictor,
    photos: Sequence[Photo],
    batch_size: int,
    done: Callable[[], None],
    failed: Callable[[InputError], None],
) -> Iterator[tuple[Photo, Result]]:
    """The first result of each photo; those without one are passed over."""

    def report(error: InputError) -> None:
        failed(error)
        done()

    given = [[person.box for person in photo.given] for photo in photos if photo.given is not None]
    results = predictor.predict(
        [str(photo.path) for photo in photos],
        batch_size=batch_size,
        threshold=None if given else 0,
        boxes=given or None,
        on_error=report,
    )
    by_path = {str(photo.path): photo for photo in photos}
    for result in results:
        if photo := by_path.pop(result["input_path"], None):
            yield photo, result


def _people(photo: Photo, result: Result) -> list[Person]:
    if isinstance(result, DetectionResult):
        people = [Person(_box(box["coordinate"]), float(box["score"])) for box in result["boxes"]]
    elif photo.given is None:
        people = [
            Person(_box(box["coordinate"]), float(box["det_score"]), joints=box["keypoints"]) for box in result["boxes"]
        ]
    else:
        pairs = zip(photo.given, result["kpts"], strict=True)
        people = [replace(given, joints=found["keypoints"]) for given, found in pairs]
    for person in people:
        if not _is_finite(person):
            raise BackendError(f"{photo.path}: the model gives numbers that are none for this photo")
    return people


def _box(corners: Sequence[float]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in corners)
    return x1, y1, x2, y2


def _plain(person: Person) -> dict[str, object]:
    # By way of text a float32 gets the shortest decimal that it is read back from to the bit.
    joints = person.joints.astype(str).astype(float).tolist()
    return {"box": person.box, "score": person.score, "annotation": person.annotation, "joints": joints}


def _person(content: dict[str, object]) -> Person:
    joints = np.array(content["joints"], np.float32).reshape(-1, 3)
    annotation = content["annotation"]
    person = Person(
        _box(content["box"]),  # type: ignore[arg-type]
        float(content["score"]),  # type: ignore[arg-type]
        None if annotation is None else int(annotation),  # type: ignore[call-overload]
        joints,
    )
    if not _is_finite(person):  # pycocotools would take it for a perfect match
        raise ValueError
    return person


def _is_finite(person: Person) -> bool:
    return bool(np.isfinite(person.joints).all() and np.isfinite([*person.box, person.score]).all())


def _cut_torn_line(stream: BinaryIO) -> None:
    stream.seek(0)
    content = stream.read()
    stream.truncate(content.rfind(b"\n") + 1)
    stream.seek(0, 2)
