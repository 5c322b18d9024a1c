from pathlib import Path

import numpy as np
import pytest
import torch
from clevr_files import SPLITS, ready, same, write_clevr, write_grid

from dact.datamodules import CLEVRDataModule, Vocabulary
from dact.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_clevr(tmp_path / "clevr")


def test_vocabularies_do_not_disturb_each_other(root: Path) -> None:
    own = ready(root)
    path = own.dataset("val").questions.path
    time = path.stat().st_mtime_ns
    reverse = {word: own.vocabulary.unknown_word - i for word, i in own.vocabulary.words.items()}
    other = Vocabulary(reverse, {"no": 0, "yes": 1})
    given = ready(root, "validate", vocabulary=other)
    assert given.dataset("val").questions.path.name == f"questions_val_{other.fingerprint}.h5"
    assert ready(root, "validate", vocabulary=own.vocabulary).dataset("val").questions.path == path
    assert ready(root).dataset("val").questions.path == path
    assert path.stat().st_mtime_ns == time
    tokens = next(iter(own.val_dataloader())).tokens
    swapped = next(iter(given.val_dataloader())).tokens
    assert torch.equal(swapped, torch.where(tokens > 0, own.vocabulary.unknown_word - tokens, 0))


def modified(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.h5")}


def test_caches_are_reused_and_stale_ones_rebuilt(root: Path) -> None:
    cache = ready(root).cache_dir
    assert cache == root / ".dact"
    before = modified(cache)
    assert set(before) == {f"{kind}_{s}.h5" for kind in ("questions", "states") for s in SPLITS}
    ready(root)
    assert modified(cache) == before
    text = (root / "questions/CLEVR_train_questions.json").read_text()
    changed = text.replace("metal", "water")  # of the same size, and not at either end
    (root / "questions/CLEVR_train_questions.json").write_text(changed)
    assert ready(root).vocabulary.answer_names[-1] == "water"
    rebuilt = {name for name, time in modified(cache).items() if time != before[name]}
    assert rebuilt == {"questions_train.h5", "questions_val.h5"}


@pytest.mark.parametrize("name", ["questions_train.h5", "questions_val.h5", "states_val.h5"])
@pytest.mark.parametrize("keep", [0, 100, -8])
def test_truncated_caches_are_rebuilt(root: Path, name: str, keep: int) -> None:
    module = ready(root)
    expected = [next(iter(module.val_dataloader())), next(iter(module.train_dataloader()))]
    path = module.cache_dir / name
    content = path.read_bytes()
    path.unlink()  # a file that is mapped must not be cut under its reader
    path.write_bytes(content[:keep])
    again = ready(root)
    assert all(
        map(same, [next(iter(again.val_dataloader())), next(iter(again.train_dataloader()))],
            expected)
    )  # fmt: skip


@pytest.mark.parametrize("content", ["{", '{"words": {}, "answers": {}, "lowercase": false}'])
def test_damaged_vocabulary_is_rebuilt(root: Path, content: str) -> None:
    module = ready(root)
    (module.cache_dir / "vocabulary.json").write_text(content)
    assert ready(root).vocabulary.to_dict() == module.vocabulary.to_dict()


def test_interrupted_preprocessing_is_made_good(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dact.datamodules.packed_file.shutil.rmtree", lambda *_, **__: None)
        patch.setattr("dact.datamodules.packed_file.os.replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ready(root)
    cache = root / ".dact"
    (cache / "vocabulary.json.unfinished").write_text("{")
    assert (cache / "questions_train.h5.unfinished" / "whole.h5").is_file()
    assert not (cache / "questions_train.h5").exists()
    assert len(ready(root).dataset("train")) == 35
    assert not list(cache.glob("*.unfinished"))


def test_setup_without_preparation(root: Path) -> None:
    with pytest.raises(RuntimeError, match="call prepare_data first"):
        CLEVRDataModule(root).setup("fit")


def test_cache_goes_elsewhere_if_the_root_cannot_be_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / ".dact").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    said = []
    monkeypatch.setattr("dact.datamodules.base.rank_zero_info", said.append)
    module = ready(root)
    assert module.cache_dir.parent == tmp_path / "home" / "dact"
    assert module.cache_dir.name.startswith("clevr-")
    assert said == [f"{root} cannot be written: the cache is {module.cache_dir}"]
    with pytest.raises(UserError, match=r"data\.cache_dir=.*\.dact cannot be written"):
        ready(root, cache_dir=root / ".dact")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / ".dact"))
    with pytest.raises(UserError, match=r"can be written .*: set data\.cache_dir"):
        ready(root)


def test_fingerprint_is_of_the_content(root: Path, tmp_path: Path) -> None:
    module = ready(root)
    copy = ready(write_clevr(tmp_path / "copy"), cache_dir=tmp_path / "cache", batch_size=3, seed=5)
    assert module.fingerprint == copy.fingerprint
    grid = np.ones((7, 5, 3, 2), np.float32)
    for split in SPLITS:
        write_grid(root, split, grid)
    others = [
        ready(root, fraction=0.5),
        ready(root, fraction=0.5, seed=1),
        ready(root, features="grid"),
        ready(write_clevr(tmp_path / "more", train=(7, 6))),
    ]
    assert len({module.fingerprint, *(other.fingerprint for other in others)}) == 5
