"""`clevr_mini` is made once, and is what it was asked to be."""

from pathlib import Path

import pytest

from dact.datamodules import mini
from dact.datamodules.mini import CLEVRMiniDataModule
from dact.errors import UserError

RECIPE = {"seed": 0, "images": {"train": 4, "val": 2}, "questions_per_image": 2, "drawings": 0}


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "available_cores", lambda: 1)


def prepared(root: Path, **changes: object) -> CLEVRMiniDataModule:
    module = CLEVRMiniDataModule(root, {**RECIPE, **changes}, progress=False)
    module.prepare_data("fit")
    module.setup("fit")
    return module


def test_it_is_made_on_first_use_and_never_again(tmp_path: Path) -> None:
    root = tmp_path / "new" / "clevr_mini"
    assert len(prepared(root).dataset("train")) == 8
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.json")}
    assert len(prepared(root).dataset("val")) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_recipe_is_not_ignored(tmp_path: Path) -> None:
    root = tmp_path / "clevr_mini"
    prepared(root)
    with pytest.raises(UserError, match=r"was made with data\.generate\.seed=0, not 3: delete it"):
        prepared(root, seed=3)


def test_a_root_from_elsewhere_is_used_as_it_is(tmp_path: Path) -> None:
    root = tmp_path / "clevr_mini"
    prepared(root)
    (root / mini.RECIPE).unlink()
    assert len(prepared(root, seed=3).dataset("train")) == 8


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    root = tmp_path / "file" / "clevr_mini"
    with pytest.raises(UserError, match=r"clevr_mini cannot be made in .*; set data\.root"):
        prepared(root)
