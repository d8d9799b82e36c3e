"""What MkDocs does not do by itself: pages and links that lie outside of ``docs``.

The pages are read on a forge too, so their links are plain relative ones. Here a link to ``../CHANGELOG.md`` becomes
one to its page, a picture of ``benchmarks`` or ``examples`` is copied into the site, and source code is linked there.
"""

from __future__ import annotations

import logging
import posixpath
import re
import sys
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks")

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
    "benchmarks/NOTES.md": "measured/notes.md",
    **{
        path.relative_to(ROOT).as_posix(): f"measured/{path.name}"
        for path in (ROOT / "benchmarks/results").glob("*.md")
    },
}
"""Pages from elsewhere in the repository, and where they are in the site."""
COPIED = (".png", ".jpg", ".html", ".json")
"""Files outside ``docs`` that are copied into the site where a page links to them."""
CODE = re.compile(r"(^ *(`{3,}|~{3,}).*?^ *\2 *$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)")


def on_config(config: MkDocsConfig) -> None:
    """Make ``command.py`` importable for mkdocs-click."""
    sys.path.insert(0, str(Path(__file__).parent))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside of ``docs``."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a page to where their files are in the site, or on the forge."""
    sources = {page: source for source, page in OUTSIDE.items()}
    here = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def lead(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), match[1]))
        place = _place(target, config, files)
        if place is None:
            log.warning(f"{here}: the link to {match[1]} leads to nothing")
            return match[1]
        if place.startswith("https:"):
            return place
        return posixpath.relpath(place, posixpath.dirname(page.file.src_uri) or ".")

    parts = CODE.split(markdown)  # text, code, fence, text, ...
    return "".join(
        LINK.sub(lead, part) if index % 3 == 0 else part for index, part in enumerate(parts) if index % 3 != 2
    )


def _place(target: str, config: MkDocsConfig, files: Files) -> str | None:
    """Where a path of the repository is: a page or file of the site, or a URL; None if it does not exist."""
    if target in OUTSIDE:
        return OUTSIDE[target]
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    if not (ROOT / target).exists() or target.startswith(".."):
        return None
    if not target.endswith(COPIED):
        return f"{config.extra['repository']}/{'tree' if (ROOT / target).is_dir() else 'blob'}/main/{target}"
    copy = str(PurePosixPath("measured", "files", target))
    if copy not in files.src_uris:
        files.append(File.generated(config, copy, abs_src_path=str(ROOT / target)))
    return copy
