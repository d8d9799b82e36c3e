"""The code blocks of the documentation, as steps that a test runs."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

from support import ROOT

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
"""What a reader may copy code from."""
TITLE = re.compile(r'title="([^"]*)"')
SERVES = re.compile(r"hpi (serve|--serve)\b")
INSTALLS = re.compile(r"(python -m )?pip (un)?install\b")
LEFT_TO_CI = re.compile(rf"{INSTALLS.pattern}|python -m pytest\b")
"""What ``.ci/run`` does: it installs every extra, and runs the tests."""


class Step(NamedTuple):
    """What a page says to do: ``python``, ``shell`` or ``serve`` some code, ``write`` or ``patch`` a file."""

    kind: str
    file: str
    text: str
    line: int


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title, its text, and the line of the page on which the text begins."""

    page: Path
    language: str
    title: str | None
    code: str
    line: int

    @property
    def needs(self) -> str | None:
        """What the reader must have, from a title such as ``Needs Docker``."""
        return self.title.removeprefix("Needs ") if self.title and self.title.startswith("Needs ") else None

    @property
    def file(self) -> str | None:
        """The file that the block is, from a title such as ``my-pose/inference.yml``."""
        return None if self.title is None or self.needs else self.title

    def steps(self) -> Iterator[Step]:
        """What to do with it."""
        if self.file:
            yield Step("patch" if self.language == "diff" else "write", self.file, self.code, self.line)
        elif self.language == "python":
            yield Step("python", "", self.code, self.line)
        elif self.language == "bash":
            for text, line in self.commands():
                rest = " && ".join(part for part in text.split(" && ") if not LEFT_TO_CI.match(part))
                if rest:
                    yield Step("serve" if SERVES.match(rest) else "shell", "", rest, line)

    def commands(self) -> Iterator[tuple[str, int]]:
        """The commands of a shell block, with their lines; a line may end in a backslash and go on in the next."""
        lines = iter(enumerate(self.code.splitlines(), self.line))
        for number, text in lines:
            whole = text
            while whole.endswith("\\"):
                whole = f"{whole[:-1]} {next(lines)[1].strip()}"
            if whole.strip() and not whole.lstrip().startswith("#"):
                yield whole.strip(), number


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type == "fence":
            language, _, rest = token.info.partition(" ")
            title = TITLE.search(rest)
            found.append(Block(page, language, title and title[1], token.content, token.map[0] + 2))
    return found


def extras(page: Path) -> set[str]:
    """The extras of this package that the commands of a page install."""
    words = {
        word
        for block in blocks(page)
        if block.language == "bash"
        for text, _ in block.commands()
        if INSTALLS.match(text)
        for word in shlex.split(text)
    }
    named = (re.fullmatch(r"(?:\.|hpi-pose)\[([\w,-]+)\].*", word) for word in words)
    return {extra for match in named if match for extra in match[1].split(",")}
