"""A pose for each skeleton of the package that looks like what it is of: a person, an animal, a face, a hand."""

from __future__ import annotations

import numpy as np

from hpi.instances import Skeleton

BODY = {
    "nose": (50, 12), "left_eye": (52, 10), "right_eye": (48, 10), "left_ear": (55, 11), "right_ear": (45, 11),
    "left_shoulder": (60, 24), "right_shoulder": (40, 24), "left_elbow": (70, 36), "right_elbow": (31, 38),
    "left_wrist": (80, 27), "right_wrist": (27, 53), "left_hip": (56, 54), "right_hip": (44, 54),
    "left_knee": (60, 74), "right_knee": (41, 74), "left_ankle": (61, 93), "right_ankle": (39, 94),
    "left_big_toe": (65, 98), "left_small_toe": (68, 97), "left_heel": (60, 96),
    "right_big_toe": (34, 98), "right_small_toe": (32, 97), "right_heel": (39, 97),
    "head": (50, 3), "head_top": (50, 3), "top_head": (50, 3), "neck": (50, 21), "upper_neck": (50, 20),
    "thorax": (50, 24), "hip": (50, 53), "pelvis": (50, 53),
}  # fmt: skip
ANIMAL = {
    "L_Eye": (16, 34), "R_Eye": (12, 34), "Nose": (10, 43), "Neck": (28, 44), "Root of tail": (88, 44),
    "L_Shoulder": (32, 54), "L_Elbow": (34, 68), "L_F_Paw": (33, 86), "R_Shoulder": (27, 54), "R_Elbow": (25, 68),
    "R_F_Paw": (22, 86), "L_Hip": (84, 54), "L_Knee": (86, 68), "L_B_Paw": (84, 86), "R_Hip": (78, 54),
    "R_Knee": (76, 68), "R_B_Paw": (79, 86),
}  # fmt: skip


def pose(skeleton: Skeleton) -> np.ndarray:
    """``[K, 2]`` float32 in [0, 1]: a pose of a skeleton of the package."""
    if skeleton.name == "hand21":
        points = _hand()
    elif skeleton.name == "face68":
        points = _face68()
    elif skeleton.name == "lapa106_face":
        points = _face106()
    else:
        places = BODY | ANIMAL | _details(skeleton)
        points = np.array([places[name] for name in skeleton.keypoints]) / 100
    return points.astype(np.float32)


def _details(skeleton: Skeleton) -> dict[str, tuple[float, float]]:
    """The face and the hands of a whole body, in the units of :data:`BODY`."""
    if "left_hand_root" not in skeleton.keypoints:
        return {}
    places = {}
    face, hand = _face68(), _hand() - _hand()[0]
    for first, points, center, size in (
        ("face-0", face - 0.5, (50, 12), (11, 14)),
        ("left_hand_root", hand, BODY["left_wrist"], (10, 10)),
        ("right_hand_root", -hand, BODY["right_wrist"], (10, 10)),
    ):
        start = skeleton.keypoints.index(first)
        names = skeleton.keypoints[start : start + len(points)]
        places |= dict(zip(names, map(tuple, np.array(center) + size * points), strict=True))
    return places


def _hand() -> np.ndarray:
    """``[21, 2]``: wrist, then thumb to little finger from the palm outwards."""
    wrist, roots = np.array([0.5, 0.95]), [(0.36, 0.82), (0.36, 0.52), (0.48, 0.48), (0.59, 0.5), (0.7, 0.56)]
    tips = [(0.08, 0.5), (0.26, 0.08), (0.47, 0.02), (0.66, 0.08), (0.86, 0.24)]
    fingers = [np.linspace(root, tip, 4) for root, tip in zip(roots, tips, strict=True)]
    return np.concatenate([wrist[None], *fingers])


def _oval(count: int, center: tuple[float, float], width: float, height: float) -> np.ndarray:
    """Points around an ellipse, from its left end over the top."""
    angles = np.pi + np.arange(count) * 2 * np.pi / count
    return np.column_stack([center[0] + width / 2 * np.cos(angles), center[1] + height / 2 * np.sin(angles)])


def _jaw(count: int) -> np.ndarray:
    angles = np.linspace(np.pi, 0, count)
    return np.column_stack([0.5 + 0.45 * np.cos(angles), 0.35 + 0.6 * np.sin(angles)])


def _brow(count: int, start: float, end: float, rise: float) -> np.ndarray:
    x = np.linspace(start, end, count)
    return np.column_stack([x, 0.22 - rise * np.sin(np.linspace(0, np.pi, count))])


def _face68() -> np.ndarray:
    return np.concatenate(
        [
            _jaw(17),
            _brow(5, 0.16, 0.42, 0.05),
            _brow(5, 0.58, 0.84, 0.05),
            np.linspace((0.5, 0.32), (0.5, 0.53), 4),
            np.column_stack([np.linspace(0.4, 0.6, 5), 0.58 + 0.03 * np.sin(np.linspace(0, np.pi, 5))]),
            _oval(6, (0.29, 0.33), 0.16, 0.07),
            _oval(6, (0.71, 0.33), 0.16, 0.07),
            _oval(12, (0.5, 0.74), 0.34, 0.15),
            _oval(8, (0.5, 0.74), 0.26, 0.06),
        ]
    )


def _face106() -> np.ndarray:
    brows = []
    for middle, turn in ((0.29, 1), (0.71, -1)):
        upper, lower = _brow(5, -0.14, 0.14, 0.05), _brow(4, 0.13, -0.11, 0.03) + np.array([0, 0.03])
        brows.append((middle + turn * upper[:, 0], upper[:, 1], middle + turn * lower[:, 0], lower[:, 1]))
    left, right = (np.concatenate([np.column_stack(one[:2]), np.column_stack(one[2:])]) for one in brows)
    right = np.concatenate([right[:5][::-1], right[5:][::-1]])
    wings = [(0.45, 0.36), (0.43, 0.46), (0.39, 0.53), (0.4, 0.58), (0.46, 0.6), (0.5, 0.61)]
    nose = [*wings, *((1 - x, y) for x, y in wings[-2::-1])]
    eyes = [np.concatenate([_oval(8, (x, 0.33), 0.16, 0.07), [(x, 0.33)]]) for x in (0.29, 0.71)]
    return np.concatenate(
        [
            _jaw(33), left, right, np.linspace((0.5, 0.32), (0.5, 0.53), 4), nose, *eyes,
            _oval(12, (0.5, 0.76), 0.34, 0.15), _oval(8, (0.5, 0.76), 0.26, 0.06), [(0.29, 0.33), (0.71, 0.33)],
        ]
    )  # fmt: skip
