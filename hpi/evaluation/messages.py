"""Messages about many entries of a file."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence

MAX_IDS = 5


def several(problems: Sequence[str], where: str) -> str:
    """Problems as one message: a single one on the first line, several on lines of their own.

    Example:
        >>> several(["no annotations"], "a.json")
        'a.json: no annotations'
        >>> print(several(["no annotations", "no images"], "a.json"))
        a.json: 2 problems:
          no annotations
          no images
    """
    if len(problems) == 1:
        return f"{where}: {problems[0]}"
    return "\n  ".join([f"{where}: {len(problems)} problems:", *problems])


def ids(kind: str, numbers: Iterable[int]) -> str:
    """The first few ids of a kind, and the number of the others.

    Example:
        >>> ids("image", [3])
        'image id 3'
        >>> ids("image", range(8))
        'image ids 0, 1, 2, 3, 4 and 3 more'
    """
    numbers = list(dict.fromkeys(numbers))
    return f"{kind} {'id' if len(numbers) == 1 else 'ids'} {listed(numbers)}"


def listed(numbers: Iterable[int]) -> str:
    """The ids of :func:`ids` without the kind.

    Example:
        >>> listed(range(8))
        '0, 1, 2, 3, 4 and 3 more'
    """
    numbers = list(numbers)
    more = f" and {len(numbers) - MAX_IDS} more" if len(numbers) > MAX_IDS else ""
    return ", ".join(map(reprlib.repr, numbers[:MAX_IDS])) + more
