"""Smoothing: planted tracks with the noise of a real model, what begins anew, and what is left alone."""

import numpy as np
import pytest

from hpi import Predictor
from hpi.errors import ConfigError
from hpi.instances import Instances
from hpi.tracking.smoothing import FILTERS, Ema, Smoother

NOISE = 0.0065
"""Of PP-TinyPose_128x96, standard deviation in sizes of a person; measured by the last test of this file."""
NOISE_OF_VIDEO = 0.014
"""The same for people of 75 pixels in vtest.avi, from fourth differences, in which hardly any movement is left."""
SIZE = 100  # pixels
MISSING = 0.15  # share of the frames


def standing(times):
    """Swaying by 2% of the size."""
    phase = np.arange(17)
    x, y = (0.02 * np.sin(2 * np.pi * hertz * times[:, None] + phase) for hertz in (0.3, 0.4))
    return np.stack([x, y], axis=-1)


def passing(times):
    """Standing for a second, getting up to 1.4 sizes (which is 0.8 heights) a second in half a second, and stopping."""
    walked = np.clip(times - 1, 0, 4)
    way = np.where(walked < 0.5, walked**2, np.where(walked > 3.5, 3.5 - (4 - walked) ** 2, walked - 0.25))
    return np.stack([1.4 * way, 0 * way], axis=-1)[:, None].repeat(17, axis=1)


def walking(times):
    """Passing, with wrists, knees and ankles that swing at 0.9 strides a second."""
    swings = np.zeros(17)
    swings[[9, 13, 15]], swings[[10, 14, 16]] = (0.17, -0.17, -0.35), (-0.17, 0.17, 0.35)
    places = passing(times)
    moves = np.clip(np.minimum(times - 1, 5 - times) / 0.5, 0, 1)
    places[..., 0] += swings * (moves * np.sin(2 * np.pi * 0.9 * times))[:, None]
    return places


def waving(times):
    """Standing, with wrists that move by 0.3 sizes 1 and 1.5 times a second."""
    places = standing(times)
    places[:, 9, 0] += 0.3 * np.sin(2 * np.pi * 1.5 * times)
    places[:, 10, 1] += 0.3 * np.sin(2 * np.pi * times)
    return places


def smooth(places, times, smoother=None, size=SIZE):
    """Places of one person in sizes, smoothed."""
    smoother, smoothed = smoother or Smoother(), []
    for keypoints, time_s in zip(places * size, times, strict=True):
        box = [[*keypoints[0] - size / 2, *keypoints[0] + size / 2]]
        person = Instances([0.9], box, keypoints=[keypoints], keypoint_scores=np.full((1, 17), 0.9), track_ids=[3])
        smoothed.append(smoother.update(person, time_s).keypoints[0] / size)
    return np.array(smoothed)


def second_difference(places, times):
    """Mean absolute second difference over time."""
    speeds = np.diff(places, axis=0) / np.diff(times)[:, None, None]
    return np.abs(2 * np.diff(speeds, axis=0) / (times[2:] - times[:-2])[:, None, None]).mean()


def lag(motion, times, found, rate):
    """By how many frames the track must be late to correlate most with what was found."""

    def correlation(frames):
        true = motion(times - frames / rate)
        return np.corrcoef((true - true.mean(axis=0)).ravel(), (found - found.mean(axis=0)).ravel())[0, 1]

    return max(np.arange(-2, 5, 0.05), key=correlation)


@pytest.mark.parametrize("rate", [25, 10])
@pytest.mark.parametrize("motion", [standing, passing, walking, waving])
@pytest.mark.parametrize("noise", [NOISE, NOISE_OF_VIDEO])
def test_planted_tracks(motion, noise, rate, rng):
    """What the noise adds to the second difference is at least halved, and who moves is at most a frame late.

    Whole second differences are at least halved too, but at 10 frames a second where people speed up and turn within a
    few frames. Who stands still may be late, but is nearer to the truth than the noise.
    """
    times = np.arange(0, 6, 1 / rate)
    times = times[rng.random(len(times)) > MISSING]
    true = motion(times)
    noisy = true + rng.normal(0, noise, true.shape)
    smoothed = smooth(noisy, times)
    own, before, after = (second_difference(places, times) for places in (true, noisy, smoothed))
    assert after - own <= (before - own) / 2
    if rate == 25 or motion is standing:
        assert after <= before / 2
    if motion is standing:
        assert np.square(smoothed - true).mean() < np.square(noisy - true).mean()
    else:
        assert lag(motion, times, smoothed, rate) <= 1


def test_one_setting_fits_near_and_far(rng):
    times = np.arange(0, 3, 1 / 25)
    noisy = walking(times) + rng.normal(0, NOISE, (len(times), 17, 2))
    assert np.allclose(smooth(noisy, times, size=40), smooth(noisy, times, size=400), atol=1e-4)


def test_times_count_not_frames():
    """Two frames in a time, or one: the same share of the way."""
    ema = Ema(half_life_s=0.1)
    for times in ([0, 0.1, 0.2], [0, 0.2]):
        places = np.zeros((len(times), 17, 2))
        places[1:] = 1
        assert smooth(places, times, Smoother(ema))[-1] == pytest.approx(0.75)


def people(xs, ids, scores=0.9):
    keypoints = np.stack([np.full((17, 2), x, np.float32) for x in xs])
    boxes = [[x, 0, x + 50, 100] for x in xs]
    given = np.broadcast_to(scores, (len(xs), 17))
    return Instances(np.full(len(xs), 0.9), boxes, keypoints=keypoints, keypoint_scores=given, track_ids=ids)


def xs_of(found):
    return found.keypoints[:, 0, 0].tolist()


def test_tracks_are_smoothed_by_their_ids_in_any_order():
    smoother = Smoother("ema")
    smoother.update(people([0, 100], [1, 2]), 0)
    assert xs_of(smoother.update(people([108, 8], [2, 1]), 0.04)) == [104, 4]


def test_whoever_is_not_tracked_is_left_alone():
    smoother = Smoother()
    for number in range(3):
        found = people([10 * number, 0], [-1, 1])
        assert xs_of(smoother.update(found, number / 25))[0] == 10 * number
    detections = Instances([0.9], [[0, 0, 10, 10]], track_ids=[1])
    assert smoother.update(detections, 1) is detections
    untracked = people([5], [1]).replaced(track_ids=None)
    assert smoother.update(untracked, 1) is untracked
    nobody = Instances.empty(17).replaced(track_ids=[])
    assert smoother.update(nobody, 1) is nobody


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("time_s", [0.04 + 0.51, 0.04, -3])
def test_a_keypoint_begins_anew_after_a_gap_and_where_time_goes_back(name, time_s):
    smoother = Smoother(name)
    smoother.update(people([0], [1]), 0)
    assert xs_of(smoother.update(people([10], [1]), 0.04))[0] < 10
    assert xs_of(smoother.update(people([50], [1]), time_s)) == [50]


def test_a_new_track_begins_anew():
    smoother = Smoother()
    smoother.update(people([0], [1]), 0)
    assert xs_of(smoother.update(people([10], [2]), 0.04)) == [10]


def test_keypoints_of_low_scores_pass_and_do_not_pull():
    smoother = Smoother("ema", lowest_score=0.3)
    smoother.update(people([0], [1]), 0)
    scores = np.full(17, 0.9)
    scores[0] = 0.29
    assert smoother.update(people([80], [1], scores), 0.02).keypoints[0, 0, 0] == 80
    after = smoother.update(people([8], [1]), 0.04).keypoints[0, :, 0]
    assert after[0] == pytest.approx(4)  # half-way from where it was at 0
    assert after[1] > 8


def test_people_that_left_are_forgotten():
    smoother = Smoother()
    for number in range(1000):
        smoother.update(people([0], [number]), number)
    assert len(smoother._tracks) == 1


def test_the_size_of_people_without_boxes_is_that_of_their_keypoints():
    found = [people([0], [1]).replaced(boxes=None), people([1], [1]).replaced(boxes=None)]
    smoother = Smoother()
    smoother.update(found[0], 0)
    assert 0 < xs_of(smoother.update(found[1], 0.04))[0] < 1


def test_an_unknown_name_is_an_error():
    with pytest.raises(ConfigError, match="'kalman' is none of oneeuro, ema"):
        Smoother("kalman")


@pytest.mark.full
def test_the_noise_of_the_planted_tracks_is_that_of_a_model(shared, rng):
    """Still images, 22 people, 40 boxes each whose sides move by 2%: the spread of clear keypoints about their medians.

    It is measured by the median deviation: a left knee that is taken for the right one is an error, not noise.
    """
    deviations = []
    models = shared / "models"
    with (
        Predictor("PicoDet-S_pedestrian_320", model_dir=models / "PicoDet-S_pedestrian_320") as detector,
        Predictor("PP-TinyPose_128x96", model_dir=models / "PP-TinyPose_128x96") as model,
    ):
        for result in detector.predict(str(shared / "data" / "photos"), threshold=0.5):
            sides = np.tile(result.boxes[:, 2:] - result.boxes[:, :2], 2)
            moved = result.boxes + rng.normal(0, 0.02, (40, *sides.shape)) * sides
            (found,) = model.predict(result.path, boxes=moved.reshape(-1, 4))
            keypoints = found.keypoints.reshape(40, len(sides), 17, 2)
            is_clear = found.keypoint_scores.reshape(40, len(sides), 17).min(axis=0) > 0.3
            sizes = np.sqrt(sides[:, 0] * sides[:, 1])[:, None, None]
            deviations.append(((keypoints - np.median(keypoints, axis=0)) / sizes)[:, is_clear].ravel())
    assert 1.4826 * np.median(np.abs(np.concatenate(deviations))) == pytest.approx(NOISE, rel=0.15)
