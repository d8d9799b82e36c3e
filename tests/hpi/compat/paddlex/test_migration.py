"""What ``docs/migrate/paddlex.md`` says is so, here and there. Its code blocks have a test of their own."""

import json
import logging
import os
import re
import subprocess

import pytest
import typer.main

from hpi import create_pipeline
from hpi.cli.app import app
from hpi.compat.paddlex import modules
from hpi.errors import ConfigError

from support import EXAMPLE, HANGS_S, ROOT

PAGE = (ROOT / "docs" / "migrate" / "paddlex.md").read_text(encoding="utf-8")
LITE = "human_keypoint_detection_lite"

# Its answer is on the last line; what it says before is its own.
PADDLEX = """
import inspect, json, sys
sys.argv = ["paddlex", "--pipeline", "human_keypoint_detection"]
from paddlex import create_pipeline, paddlex_cli
from paddlex.inference.models import create_predictor
parser, _ = paddlex_cli.args_cfg()
named = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
print(json.dumps({
    "options": sorted(option for action in parser._actions for option in action.option_strings),
    "arguments": sorted(
        name for function in (create_pipeline, create_predictor)
        for name, one in inspect.signature(function).parameters.items() if one.kind in named
    ),
}))
"""


@pytest.fixture(scope="module")
def there():
    """What PaddleX's command line and functions take."""
    python = os.environ.get("HPI_PADDLEX") or pytest.skip("HPI_PADDLEX names no Python with PaddleX")
    environment = {**os.environ, "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"}
    command = [python, "-c", PADDLEX]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=HANGS_S, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.full
@pytest.mark.peers
def test_every_option_of_paddlexs_command_line_is_taken(there):
    ours = {name for one in typer.main.get_command(app).commands["paddlex"].params for name in one.opts}
    assert set(there["options"]) - ours == {"-h", "--help"}


@pytest.mark.full
@pytest.mark.peers
def test_every_argument_of_paddlexs_functions_is_on_the_page(there):
    codes = " ".join(re.findall(r"`([^`\n]+)`", PAGE))
    assert not [name for name in there["arguments"] if not re.search(rf"\b{name}\b", codes)]


@pytest.mark.parametrize("engine", ["paddle_dynamic", "transformers", "genai_client", "om"])
def test_engines_without_counterpart_are_an_error(engine):
    with pytest.raises(ConfigError, match=engine):
        create_pipeline(LITE, engine=engine)


@pytest.mark.parametrize("threshold", [1, 1.0])
def test_a_whole_number_filters_too(lite, threshold):
    (result,) = lite.predict(str(EXAMPLE), det_threshold=threshold)
    assert not result["boxes"]


def test_the_module_file_on_the_page_is_known(tmp_path, caplog):
    (text,) = re.findall(r'```yaml title="PP-TinyPose_128x96.yaml"\n(.*?)```', PAGE, re.DOTALL)
    path = tmp_path / "module.yaml"
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        content = modules.read_module(path, ["Predict.model_dir=None"])
    assert content["Predict"]["model_dir"] is None
    assert not caplog.records


@pytest.mark.parametrize("mode", modules.NOT_HERE)
def test_modes_that_are_paddlexs_are_named(mode):
    assert f"`{mode}`" in PAGE
