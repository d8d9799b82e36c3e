"""Model folders damaged at random, and a process that tries each of them.

Run as a script it answers each line of its input, a JSON list of folder, name and backend, with a JSON line: what came
of it. It is a process of its own because a damaged file may take a runtime down.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Rng = random.Random
LARGEST_CUT = 4096


def flip(rng: Rng, file: Path, _: list[Path]) -> None:
    """Change up to 64 bytes."""
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 4, 64))):
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    file.write_bytes(content)


def flip_near_the_start(rng: Rng, file: Path, _: list[Path]) -> None:
    """Change a byte where formats have their headers."""
    content = bytearray(file.read_bytes())
    content[rng.randrange(min(len(content), 200))] ^= rng.randrange(1, 256)
    file.write_bytes(content)


def truncate(rng: Rng, file: Path, _: list[Path]) -> None:
    """Cut the end off, often only a little of it."""
    content = file.read_bytes()
    least = max(0, len(content) - LARGEST_CUT) if rng.random() < 0.5 else 0
    file.write_bytes(content[: rng.randrange(least, len(content))])


def zero(rng: Rng, file: Path, _: list[Path]) -> None:
    """Zeros in a block, or from somewhere to the end."""
    content = bytearray(file.read_bytes())
    start = rng.randrange(len(content))
    end = len(content) if rng.random() < 0.5 else min(len(content), start + 4096)
    content[start:end] = bytes(end - start)
    file.write_bytes(content)


def insert(rng: Rng, file: Path, _: list[Path]) -> None:
    """Bytes too many, somewhere or at the end."""
    content = file.read_bytes()
    start = rng.choice((rng.randrange(len(content)), len(content)))
    file.write_bytes(content[:start] + rng.randbytes(rng.choice((1, 100))) + content[start:])


def swap(rng: Rng, file: Path, files: list[Path]) -> None:
    """The content of two files exchanged."""
    other = rng.choice([one for one in files if one != file])
    mine, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs)
    other.write_bytes(mine)


def stand_in(rng: Rng, file: Path, _: list[Path]) -> None:
    """Something else in place of a file."""
    file.write_bytes(
        rng.choice(
            (
                b"",
                b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234567\n",
                b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n",
                b"PK\x03\x04" + rng.randbytes(500),
                b'{"error": "not found"}',
                rng.randbytes(1000),
            )
        )
    )


def remove(_: Rng, file: Path, __: list[Path]) -> None:
    """A file gone."""
    file.unlink()


def change_yml(rng: Rng, file: Path, _: list[Path]) -> None:
    """A field of the yml gone, or with a value that it should not have."""
    yml = next(one for one in file.parent.iterdir() if one.suffix == ".yml")
    content = yaml.safe_load(yml.read_text())
    places = list(_places(content))
    parent, key = rng.choice(places)
    if rng.random() < 0.5:
        del parent[key]
    else:
        parent[key] = rng.choice([None, "x", -1, 0, 1e30, 10**20, [], {}, True, float("nan"), [1, 2], "\0"])
    yml.write_text(yaml.safe_dump(content))


def _places(content: Any) -> Any:
    """Every field and every element, with what holds it."""
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])


KINDS: tuple[Callable[[Rng, Path, list[Path]], None], ...] = (
    flip, flip_near_the_start, truncate, zero, insert, swap, stand_in, remove, change_yml, change_yml,
)  # fmt: skip


def damage(rng: Rng, folder: Path) -> str:
    """Damage one thing in a model folder; says what."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != "sources.json")
    kind, file = rng.choice(KINDS), rng.choice(files)
    kind(rng, file, files)
    return f"{kind.__name__} {file.name}"


def answer(request: str) -> dict[str, Any]:
    """What comes of a model folder: keypoints and boxes, the message of an error, or what else was raised."""
    import numpy as np

    from hpi import Predictor
    from hpi.errors import HpiError

    folder, name, backend, image = json.loads(request)
    try:
        with Predictor(name, model_dir=folder, backend=backend, device="cpu", threads=2) as predictor:
            (result,) = predictor.predict(image)
            content = result.json["res"]
            json.dumps(content, allow_nan=False)
    except HpiError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    except Exception as error:  # noqa: BLE001 - that is the question
        return {"bug": f"{type(error).__name__}: {error}"}
    found = content.get("kpts") or content["boxes"]
    values = [[person.get("keypoints", person.get("coordinate"))] for person in found]
    return {"found": np.array(values, float).ravel().tolist(), "backend": predictor.backend}


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # which has a folder hpi of its own
    for line in sys.stdin:
        print("ANSWER " + json.dumps(answer(line)), flush=True)
