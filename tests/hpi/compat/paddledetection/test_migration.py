"""What ``docs/migrate/paddledetection.md`` says is so. Its code blocks have a test of their own."""

import re

import pytest

from hpi.compat.paddledetection.flags import DET_KEYPOINT_UNITE, KEYPOINT_INFER, MOT_KEYPOINT_UNITE

from support import ROOT

PAGE = (ROOT / "docs" / "migrate" / "paddledetection.md").read_text(encoding="utf-8")
TAKEN, SILENT, REFUSED = re.search(
    r"## Flags\n(.*?)Accepted without effect(.*?)Refused: (.*?)## Files", PAGE, re.DOTALL
).groups()


@pytest.mark.parametrize("groups", [KEYPOINT_INFER, DET_KEYPOINT_UNITE, MOT_KEYPOINT_UNITE])
def test_every_flag_is_where_it_belongs(groups):
    for group in groups.values():
        for name, flag in group.items():
            there = SILENT if flag.no_effect else REFUSED if flag.refused else TAKEN
            assert f"`--{name}`" in there
