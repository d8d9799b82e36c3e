import pytest

from support import ROOT, quick_first, run_python

SAID = {
    "pipeline.py": "a nose at 9",
    "own_boxes.py": "2 people, on ",
    "paddlex_parallel.py": "basketball.png: 2 people",
    "paddlex_sample.py": "{'res': {'input_path': ",
    "animation.py": "basketball.webp: 48 frames, 2 people",
}


def test_every_example_is_here():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(SAID)


@pytest.mark.parametrize("name", quick_first(SAID, 1))
def test_example(tmp_path, name):
    elsewhere = ["basketball.webp"] if name == "animation.py" else []
    done = run_python(ROOT / "examples" / name, *elsewhere, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert SAID[name] in done.stdout
