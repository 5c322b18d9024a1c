"""The examples in the documentation are true.

pytest's own collection would import the files as `src.…`, a second copy of the package.
"""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import dact

MODULES = ["dact", *(module.name for module in pkgutil.walk_packages(dact.__path__, "dact."))]


def test_examples_in_docstrings():
    attempted = {}
    for name in MODULES:
        results = doctest.testmod(importlib.import_module(name))
        assert results.failed == 0, f"{name}: run python -m doctest on it"
        attempted[name] = results.attempted
    assert attempted["dact.models.functional"] >= 5
    assert sum(attempted.values()) > attempted["dact.models.functional"]


@pytest.mark.parametrize(
    "name", ["reproduce_statistics", "reproduce_verdict", "reproduce_paper", "reproduce"]
)
def test_examples_in_the_statistics_of_results(name):
    module = importlib.import_module(name)
    written = inspect.getsource(module).count(">>> ")
    assert written > 0
    assert doctest.testmod(module) == (0, written)


def test_every_module_was_found():
    assert {"dact.batch", "dact.models.halting", "dact.datamodules.base"} < set(MODULES)
