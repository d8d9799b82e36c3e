"""Summaries of what runtimes print when they fail."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
# In order of preference. Paddle's errors are pages of C++ frames around one of these lines; its FatalError only names
# the signal that ended the process.
_TELLING = (
    re.compile(r"(No conversion rule found for operations: .+)"),  # OpenVINO's; what follows from it stands before it
    re.compile(r"\b(?!Fatal)\w+Error: (.+)"),
    re.compile(r"(\((?:InvalidArgument|Unavailable|NotFound|Unimplemented|Fatal|External)\) .+)"),
    re.compile(r"\[ERROR\]\s*(.+)"),
    re.compile(r"FatalError: (.+)"),
)


def summarize(said: str) -> str:
    """The error in a runtime's output as one line: the first that looks like an error, else the last.

    Args:
        said: everything the runtime printed, or the text of its exception.

    Example:
        >>> summarize("Traceback (most recent call last): ... ValueError: no such operator")
        'no such operator'
        >>> summarize("")
        'it gave no reason'
    """
    text = _ANSI.sub("", said)
    for pattern in _TELLING:
        if found := pattern.search(text):
            return found.group(1).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip(" -=")]
    return lines[-1] if lines else "it gave no reason"
