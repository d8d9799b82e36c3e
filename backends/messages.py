"""Finding the one line that matters in what a runtime says when it fails."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# In order of preference. Paddle's errors are pages of C++ frames with one of these among them; a FatalError only
# tells of the signal that ended the process.
_TELLING = (
    re.compile(r"\b(?!Fatal)\w+Error: (.+)"),
    re.compile(r"(\((?:InvalidArgument|Unavailable|NotFound|Unimplemented|Fatal|External)\) .+)"),
    re.compile(r"\[ERROR\]\s*(.+)"),
    re.compile(r"FatalError: (.+)"),
)


def summarize(said: str) -> str:
    """The error in a runtime's output, as one line; without a telling line, the last one."""
    text = _ANSI.sub("", said)
    for pattern in _TELLING:
        if found := pattern.search(text):
            return found.group(1).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip(" -=")]
    return lines[-1] if lines else "it gave no reason"
