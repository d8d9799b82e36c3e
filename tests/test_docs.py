"""Documentation in the code: its examples are right, and nothing public is without."""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
from pathlib import Path

import pytest

import hpi

from support import ROOT

pytestmark = pytest.mark.long  # its slow cases run each night

NEEDS_MORE = ("hpi.__main__", "hpi.benchmarks.__main__", "hpi.benchmarks.peers", "hpi.doctor.__main__")
"""Modules that run something when they are imported, or run in environments of their own."""
MODULES = sorted(name for _, name, _ in pkgutil.walk_packages(hpi.__path__, "hpi.") if not name.startswith(NEEDS_MORE))


def public(module):
    """Functions and classes that a module defines, and the public methods of the classes."""
    for name, thing in vars(module).items():
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__:
            yield name, thing
            if inspect.isclass(thing):
                methods = {key: value for key, value in vars(thing).items() if not key.startswith("_")}
                yield from ((f"{name}.{key}", value) for key, value in methods.items() if inspect.isfunction(value))


def opens_models(name):
    """Whether an example of a module takes a second."""
    source = importlib.util.find_spec(name).origin
    text = "".join(line for line in Path(source).read_text().splitlines() if ">>> " in line or "... " in line)
    return any(word in text for word in ("Predictor(", "BACKENDS[", "create_", "Opener(", "choose(", "export_triton("))


EXAMPLES = [pytest.param(name, marks=pytest.mark.full) if opens_models(name) else name for name in MODULES]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings_are_right(name, monkeypatch):
    monkeypatch.chdir(ROOT)  # where examples/ is
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_some_docstrings_have_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(examples) >= 300


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_is_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for called, thing in public(module):
        assert inspect.getdoc(thing), f"{name}.{called}"


def test_every_public_name_of_the_package_has_an_example():
    errors = {name for name in hpi.__all__ if name.endswith("Error")}
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in set(hpi.__all__) - errors - {"Result"}:  # KeypointResult and DetectionResult are its two kinds
        found = finder.find(getattr(hpi, name), name)
        assert any(test.examples for test in found), name
