"""The pages under ``docs/reference`` are complete: what the code knows is on them, and its defaults are theirs."""

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import hpi
from hpi.compat.paddlex import config, modules
from hpi.compat.paddlex.config import read_pipeline
from hpi.errors import HpiError
from hpi.heads import HEADS
from hpi.models.description import Description
from hpi.models.readers import paddle
from hpi.models.readers.plain_onnx import KINDS
from hpi.serving.settings import Settings, _ServingSection
from hpi.skeletons import _SkeletonFile
from hpi.zoo import configs

from support import ROOT

REFERENCE = ROOT / "docs" / "reference"

RECORDS = {
    "Pipeline": [config.PipelineConfig, _ServingSection, Settings],
    "`inference.yml` and `infer_cfg.yml`": [
        paddle.InferenceYml, paddle.Resize, paddle.Pad, paddle.PadStride, paddle.LetterBoxResize,
        paddle.TopDownEvalAffine, paddle.TrackerSection, paddle.NormalizeImage, paddle.Permute, *HEADS.values(),
    ],
    "Zoo entry": [configs.ModelConfig],
    "Skeleton": [_SkeletonFile],
}  # fmt: skip
"""The sections of the page on YAML, and what is read there."""


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """The text under each heading of the second level."""
    return {part.partition("\n")[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}


def names(record: type[BaseModel]) -> Iterator[str]:
    """The fields of a record, by the names that a file has for them, and those of its sections."""
    for name, field in record.model_fields.items():
        yield field.alias or name
        for kind in nested(field.annotation):
            yield from names(kind)


def nested(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from nested(inner)


def keys(fields: Mapping[str, Any] | None) -> Iterator[str]:
    """The keys of a dictionary and of those in it."""
    for name, value in (fields or {}).items():
        yield name
        yield from keys(value)


def is_named(name: str, text: str) -> bool:
    """Whether a name is among the code of a text."""
    return any(re.search(rf"\b{re.escape(name)}\b", code) for code in re.findall(r"`([^`\n]+)`", text))


@pytest.mark.parametrize("section", RECORDS)
def test_every_field_of_a_yaml_is_on_its_page(section):
    text = sections(page("yaml.md"))[section]
    known = {name for record in RECORDS[section] for name in names(record)}
    assert not [name for name in sorted(known) if not is_named(name, text)]


def test_every_field_of_an_hpi_yml_is_on_its_page():
    text = sections((ROOT / "docs" / "how-to" / "own-models.md").read_text(encoding="utf-8"))["hpi.yml"]
    assert not [name for name in sorted(set(names(Description))) if not is_named(name, text)]


def test_every_kind_is_on_its_page():
    text = sections((ROOT / "docs" / "how-to" / "own-models.md").read_text(encoding="utf-8"))["A lone ONNX file"]
    assert not [kind for kind in KINDS if not is_named(kind, text)]


def test_every_field_of_a_module_is_on_the_page():
    text = sections(page("yaml.md"))["Module"]
    assert not [name for name in keys(modules.KNOWN) if not is_named(name, text)]


def test_limits_of_the_service_have_their_defaults_on_the_page():
    text = sections(page("yaml.md"))["Pipeline"].partition("### Serving")[2]
    shown = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", text, re.MULTILINE))
    assert shown == {name: json.dumps(field.default) for name, field in Settings.model_fields.items()}


def test_the_pipeline_on_the_page_has_every_field_and_can_be_read(tmp_path):
    (text,) = re.findall(r'```yaml title="my_pipeline.yaml"\n(.*?)```', page("yaml.md"), re.DOTALL)
    path = tmp_path / "my_pipeline.yaml"
    path.write_text(text)
    assert read_pipeline(path).pipeline_name == "my_pipeline"
    for record in (config.DetectionModule, config.KeypointModule):
        ours = set(record.model_fields) - set(config._Level.model_fields)
        assert not [name for name in ours if f" {name}:" not in text]


def test_every_name_of_the_package_is_on_the_page():
    shown = re.findall(r"^::: (\S+)$", page("python.md"), re.MULTILINE)
    assert {f"hpi.{name}" for name in hpi.__all__} <= set(shown)
    assert len(set(shown)) == len(shown)


def test_every_name_on_the_page_is_there():
    for path in re.findall(r"^::: (\S+)$", page("python.md"), re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name) or importlib.import_module(path), path


def test_every_error_is_on_the_page():
    errors = {name for name, kind in vars(hpi.errors).items() if isinstance(kind, type) and issubclass(kind, HpiError)}
    assert {f"::: hpi.{name}" for name in errors} <= set(page("python.md").splitlines())
