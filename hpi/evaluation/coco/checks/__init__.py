"""What can be wrong with annotations in COCO's form, and what each mistake spoils: one list for all who read them.

``evaluate`` refuses what makes its figures wrong, and warns of the rest. The data-set check refuses also what other
tools stumble over. COCO's own files pass: segments smaller than their boxes, boxes that reach out by less than a pixel,
people without labelled keypoints and crowds are all right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from hpi.evaluation.coco.checks import areas, boxes, keypoints, people, references
from hpi.evaluation.coco.checks.finding import NONE, REFUSE, WARN, Check, Use, each, sentence
from hpi.evaluation.coco.file import CocoFile


@dataclass(frozen=True)
class Findings:
    """What to refuse a file for, and what to warn of; a sentence for each check that found something.

    Example:
        >>> Findings(problems=["no annotations"])
        Findings(problems=['no annotations'], warnings=[])
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def examine(file: CocoFile, use: Use) -> Findings:
    """Look for everything that is wrong with a file for a use.

    Args:
        file: as it was read; :meth:`CocoFile.of_people` where only people are used.
        use: decides what is refused, what is warned of and what does not matter.

    Example:
        >>> from pathlib import Path
        >>> image = {"id": 1, "file_name": "a.png", "width": 640, "height": 480}
        >>> raw = {"images": [image, image], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
        >>> examine(CocoFile.of(Path("a.json"), raw), "boxes").problems[0]
        'image id 1: 2 entries have it; give each its own'
    """
    found = Findings()
    for check in CHECKS:
        level = check.level(use)
        if level is not NONE and (findings := list(check.find(file))):
            (found.problems if level is REFUSE else found.warnings).append(sentence(findings))
    return found


CHECKS = (
    # what to look for, and what it is for keypoint AP, box AP, training, predictions
    Check(partial(references.same_id, kind="image"), REFUSE, REFUSE, REFUSE, REFUSE),
    Check(partial(references.same_id, kind="annotation"), REFUSE, REFUSE, REFUSE),
    Check(partial(references.same_id, kind="category"), REFUSE, REFUSE, REFUSE, REFUSE),
    Check(partial(references.no_whole_number, kind="image", names=["id"]), NONE, NONE, REFUSE),
    Check(partial(references.no_whole_number, kind="annotation", names=references.IDS), NONE, NONE, REFUSE),
    Check(partial(references.no_whole_number, kind="category", names=["id"]), NONE, NONE, REFUSE),
    Check(partial(references.number_as_text, kind="image", names=["width", "height"]), NONE, NONE, REFUSE),
    Check(partial(references.number_as_text, kind="annotation", names=references.NUMBERS), NONE, NONE, REFUSE),
    Check(references.unknown_image, REFUSE, REFUSE, REFUSE),
    Check(references.unknown_category, WARN, WARN, REFUSE),
    Check(references.file_outside, REFUSE, REFUSE, REFUSE, REFUSE),
    Check(references.same_file, REFUSE, REFUSE, REFUSE, REFUSE),
    Check(people.no_person, REFUSE, REFUSE, WARN, REFUSE),
    Check(people.other_skeleton, REFUSE, NONE, WARN),
    Check(people.unknown_names, WARN, NONE, NONE),
    Check(people.no_annotations, REFUSE, REFUSE, REFUSE),
    Check(people.nothing_labelled, REFUSE, NONE, REFUSE),
    Check(people.annotated_twice, WARN, WARN, WARN),
    Check(people.too_many_people, WARN, NONE, NONE),
    Check(each(people.no_iscrowd), WARN, WARN, REFUSE),
    Check(each(people.wrong_iscrowd), REFUSE, REFUSE, REFUSE),
    Check(each(boxes.no_box), REFUSE, REFUSE, REFUSE),
    Check(each(boxes.empty_box), WARN, WARN, REFUSE),
    Check(each(boxes.outside_box), WARN, WARN, REFUSE),
    Check(each(boxes.reaching_box), WARN, WARN, WARN),
    Check(boxes.corner_boxes, REFUSE, REFUSE, REFUSE),
    Check(boxes.fraction_boxes, REFUSE, REFUSE, REFUSE),
    Check(boxes.stranger_boxes, REFUSE, WARN, REFUSE),
    Check(boxes.stranger_box, WARN, WARN, WARN),
    Check(each(keypoints.no_keypoints), WARN, NONE, REFUSE),
    Check(keypoints.wrong_length, REFUSE, NONE, REFUSE),
    Check(each(keypoints.wrong_visibility), WARN, NONE, REFUSE),
    Check(each(keypoints.no_count), WARN, NONE, REFUSE),
    Check(each(keypoints.contradicting_count), REFUSE, NONE, REFUSE),
    Check(each(keypoints.inexact_count), WARN, NONE, REFUSE),
    Check(each(keypoints.fraction_keypoints), REFUSE, NONE, REFUSE),
    Check(each(keypoints.far_keypoint), WARN, NONE, REFUSE),
    Check(each(keypoints.keypoint_at_origin), WARN, NONE, WARN),
    Check(each(areas.no_area), REFUSE, WARN, REFUSE),
    Check(each(areas.negative_area), REFUSE, REFUSE, REFUSE),
    Check(each(areas.tiny_area), REFUSE, WARN, REFUSE),
    Check(areas.foreign_areas, REFUSE, WARN, REFUSE),
    Check(each(areas.large_area), REFUSE, WARN, REFUSE),
    Check(each(areas.larger_area), WARN, WARN, WARN),
)  # fmt: skip
