"""The guard against regressions: what it finds, what it leaves alone, and what it refuses to compare."""

import json

import numpy as np
import pytest

from hpi.benchmarks.regression import compare, read_run
from hpi.errors import ConfigError

from support import EXAMPLE, run_hpi

pytestmark = pytest.mark.long  # its slow cases run each night

ROUNDS, RUNS = 7, 20
TRIALS = 200


def rows(ratios, *, bare=10.0, photos=("a.jpg",)):
    """Rows of a run in which hpi takes so many times as long as the bare models, round by round."""
    bare = np.broadcast_to(bare, len(ratios))
    return [
        {"photos": list(photos), "who": "hpi", "rounds_ms": (np.array(ratios) * bare).tolist()},
        {"photos": list(photos), "who": "bare", "rounds_ms": bare.tolist()},
        {"photos": list(photos), "who": "a peer", "rounds_ms": [1.0]},
    ]


def synthetic(rng, factor=1.0, *, of_run=0.05, of_round=0.0):
    """Rows of a run on a machine whose speed wanders by 20% from round to round.

    Args:
        rng: random numbers.
        factor: how much longer hpi takes.
        of_run: noise of a single run.
        of_round: noise of a round that hits hpi alone.
    """
    speed, own = rng.lognormal(0, 0.2, (ROUNDS, 1)), rng.lognormal(0, of_round, (ROUNDS, 1))
    hpi, bare = (speed * rng.lognormal(0, of_run, (ROUNDS, RUNS)) for _ in range(2))
    hpi, bare = np.median(10 * factor * own * hpi, axis=1), np.median(9 * bare, axis=1)
    return rows(hpi / bare, bare=bare)


def rate(rng, verdict, factor, **noise):
    """How often two runs, the second with another factor, get a verdict."""
    found = [compare(synthetic(rng, **noise), synthetic(rng, factor, **noise), rng=rng) for _ in range(TRIALS)]
    share = sum(change.verdict == verdict for (change,) in found) / TRIALS
    print(f"{verdict} at a factor of {factor:g} and noise {noise or 'of single runs'}: {share:.1%} of {TRIALS}")
    return share


def test_a_tenth_slower_is_found(rng):
    """Measured: 100%. The noise of single runs is 5%, and the machine's speed wanders by 20%."""
    assert rate(rng, "slower", 1.1) >= 0.97


@pytest.mark.full
def test_no_change_is_no_alarm(rng):
    """Measured: 0%; where whole rounds scatter by 5%, which is far more than they do, 0.5%."""
    assert rate(rng, "slower", 1.0) <= 0.01
    assert rate(rng, "slower", 1.0, of_round=0.05) <= 0.05


@pytest.mark.full
def test_scattering_rounds_need_a_larger_change(rng):
    """Measured, a tenth slower: 94% where whole rounds scatter by 2%, 43% by 5%; a fifth slower by 5%: 99%."""
    assert rate(rng, "slower", 1.1, of_round=0.02) >= 0.85
    assert 0.2 <= rate(rng, "slower", 1.1, of_round=0.05) <= 0.7
    assert rate(rng, "slower", 1.2, of_round=0.05) >= 0.92


def test_faster_is_the_mirror_image_of_slower(rng):
    old, new = synthetic(rng), synthetic(rng, 1.2)
    (there,), (back,) = compare(old, new), compare(new, old)
    assert (there.verdict, back.verdict) == ("slower", "faster")
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert there.low <= there.ratio <= there.high


def test_a_slower_machine_is_no_slower_project():
    (change,) = compare(rows([1.2] * 7, bare=10), rows([1.2] * 7, bare=25))
    assert (change.ratio, change.verdict) == (pytest.approx(1), "same")


def test_a_change_within_the_tolerance_is_none():
    old, new = rows([1.0] * 7), rows([1.1] * 7)
    assert compare(old, new)[0].verdict == "slower"
    assert compare(old, new, 0.15)[0].verdict == "same"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (rows([1] * 7), rows([1] * 7, photos=["b.jpg"]), "not the same cases: a.jpg; b.jpg"),
        (rows([1] * 7), rows([1] * 7) + rows([1] * 7, photos=["a.jpg", "b.jpg"]), "not the same cases: a.jpg, b.jpg"),
        (rows([1] * 4), rows([1] * 7), "4 rounds are too few"),
        (rows([1] * 7)[:1], rows([1] * 7), "did not take turns"),
        (rows([1] * 7) + rows([1] * 7), rows([1] * 7), "several images have this name"),
        ([], [], "nothing to compare"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(old, new, said):
    with pytest.raises(ConfigError, match=said):
        compare(old, new)


def file_with(row):
    return json.dumps({"environment": {}, "rows": {"models": [], "rows": [row]}})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read"),
        ("\udcff", "cannot be read"),
        ("[]", "Input should be"),
        ('{"environment": {}}', "field 'rows' is missing"),
        (file_with({"photos": [], "who": "hpi"}), "rounds_ms' is missing"),
        (file_with({"photos": [], "who": "hpi", "rounds_ms": [float("nan")]}), "rounds_ms"),
        (file_with({"photos": [], "who": "hpi", "rounds_ms": [0]}), "greater than 0"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, content, said):
    path = tmp_path / "old.json"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(ConfigError, match=said) as caught:
        read_run(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.full
def test_a_missing_file_is_an_error(tmp_path):
    done = run_hpi("benchmark", "regression", "none.json", "none.json", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "none.json: cannot be read" in done.stderr


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The folder of two tiny runs, the second compared with the first."""
    folder = tmp_path_factory.mktemp("runs")
    arguments = ("benchmark", "pipeline", str(EXAMPLE), "--seconds", "0.01", "--rounds", "5", "--output")
    first = run_hpi(*arguments, "old", cwd=folder)
    assert first.returncode == 0, first.stderr
    second = run_hpi(*arguments, "new", "--compare", "old.json", cwd=folder)
    assert second.returncode in {0, 1}, second.stderr  # such short runs prove nothing
    assert "verdict" in second.stdout
    return folder


def edited(folder, name, edit):
    """A copy of the second run with something changed in it."""
    report = json.loads((folder / "new.json").read_text())
    edit(report)
    (folder / name).write_text(json.dumps(report))
    return name


def slow_down(report):
    """Twice as slow."""
    for row in report["rows"]["rows"]:
        if row["who"] == "hpi":
            row["rounds_ms"] = [2 * milliseconds for milliseconds in row["rounds_ms"]]


@pytest.mark.full
def test_a_real_run_twice_as_slow_is_found(real):
    rounds = [row["rounds_ms"] for row in json.loads((real / "new.json").read_text())["rows"]["rows"]]
    assert [len(of_one) for of_one in rounds] == [5, 5]
    same = run_hpi("benchmark", "regression", "new.json", "new.json", cwd=real)
    assert (same.returncode, same.stderr) == (0, "")
    assert "1.000" in same.stdout
    slower = edited(real, "slower.json", slow_down)
    done = run_hpi("benchmark", "regression", "new.json", slower, cwd=real)
    assert (done.returncode, done.stderr) == (1, "")
    assert "slower" in done.stdout
    assert run_hpi("benchmark", "regression", slower, "new.json", cwd=real).returncode == 0


@pytest.mark.full
def test_another_machine_or_runtime_is_refused(real):
    another = edited(real, "machine.json", lambda report: report["environment"].update(cores="1000"))
    done = run_hpi("benchmark", "regression", "new.json", another, cwd=real)
    assert done.returncode == 2
    assert "they differ in cores" in done.stderr
    runtime = edited(real, "runtime.json", lambda report: report["rows"]["models"][0].update(backend="another"))
    done = run_hpi("benchmark", "regression", "new.json", runtime, cwd=real)
    assert done.returncode == 2
    assert "what the models run on" in done.stderr


@pytest.mark.full
def test_an_unusable_baseline_is_an_error_before_the_run(tmp_path):
    (tmp_path / "old.json").write_text("{}")
    done = run_hpi("benchmark", "pipeline", str(EXAMPLE), "--compare", "old.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "old.json: field 'environment' is missing" in done.stderr
    assert done.stdout == ""
