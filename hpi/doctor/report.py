"""What was examined, what was found, and what to do about it. Data only."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SCHEMA = 1
"""Version of the JSON form. New fields do not raise it; a field that goes or changes its meaning does."""

Status = Literal["ok", "note", "warning", "error"]
"""``note``: nothing is wrong, but something is absent. ``error``: it keeps the main job from running."""

_LOGIN = re.compile(r"(?<=://)[^\s'\"]+@")


@dataclass(frozen=True)
class Problem:
    """Something to mend.

    Attributes:
        text: what is wrong.
        cure: what to do, often a command.
        blocks: it may keep the main job from running.

    Example:
        >>> Problem("numpy is missing", "pip install numpy", blocks=True).cure
        'pip install numpy'
    """

    text: str
    cure: str
    blocks: bool = False


@dataclass(frozen=True)
class Check:
    """One part of an installation.

    Attributes:
        name: of the part, such as ``"cpu"``.
        found: what is there, in a line or a few.
        problems: what to mend; none if all is well.
        is_note: nothing is wrong, but something is absent.
        facts: the details, in JSON's types.

    Example:
        >>> check = Check("gpu", "none", is_note=True)
        >>> check.status(works=True)
        'note'
    """

    name: str
    found: str
    problems: tuple[Problem, ...] = ()
    is_note: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def status(self, *, works: bool) -> Status:
        """How it is, given whether the main job works.

        Example:
            >>> check = Check("packages", "numpy is missing", (Problem("numpy is missing", "", blocks=True),))
            >>> check.status(works=False), check.status(works=True)
            ('error', 'warning')
        """
        if not self.problems:
            return "note" if self.is_note else "ok"
        return "error" if not works and any(problem.blocks for problem in self.problems) else "warning"


@dataclass(frozen=True)
class Report:
    """All checks, and whether the main job works: the default pipeline on the device that it chooses.

    Attributes:
        works: the main job runs.
        verdict: that in a sentence.
        checks: in the order in which they are shown.

    Example:
        >>> report = Report(True, "It works.", (Check("gpu", "none", is_note=True),))
        >>> report.as_json()["checks"]["gpu"]["status"]
        'note'
    """

    works: bool
    verdict: str
    checks: tuple[Check, ...]

    def as_json(self) -> dict[str, Any]:
        """The report in JSON's types, safe to share; ``docs/how-to/doctor.md`` describes its fields."""
        checks = {
            check.name: {
                "status": check.status(works=self.works),
                "found": check.found,
                "problems": [{"text": problem.text, "cure": problem.cure} for problem in check.problems],
                "facts": dict(check.facts),
            }
            for check in self.checks
        }
        content = {"schema": SCHEMA, "works": self.works, "verdict": self.verdict, "checks": checks}
        return dict(shareable(content, _homes()))


def shareable(content: Any, homes: tuple[str, ...] = ()) -> Any:
    """JSON content with ``~`` for the home folder, and without the logins in URLs.

    Args:
        content: of JSON's types.
        homes: the spellings of the home folder.

    Example:
        >>> shareable({"folder": "/home/me/.cache", "proxy": "http://me:secret@proxy:3128"}, ("/home/me",))
        {'folder': '~/.cache', 'proxy': 'http://***@proxy:3128'}
    """
    if isinstance(content, Mapping):
        return {shareable(key, homes): shareable(value, homes) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [shareable(value, homes) for value in content]
    if not isinstance(content, str):
        return content
    for home in homes:
        content = re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])", "~", content)
    return _LOGIN.sub("***@", content)


def _homes() -> tuple[str, ...]:
    """The home folder as it is called and as it is resolved, the longest first; none where it is the root."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    spellings = {home, Path(os.path.realpath(home))}
    return tuple(sorted((str(one) for one in spellings if len(one.parts) > 1), key=len, reverse=True))
