import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from clevr_files import make_questions, make_scene, write_clevr, write_grid, write_questions
from pytorch_lightning.callbacks import ModelCheckpoint

from dact.batch import VQABatch
from dact.datamodules import CLEVRDataModule, ShardSampler, Vocabulary
from dact.datamodules.loaders import choose_images
from dact.errors import UserError

SPLITS = ("train", "val")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_clevr(tmp_path / "clevr")


def ready(root: Path, stage: str = "fit", **options: object) -> CLEVRDataModule:
    module = CLEVRDataModule(root, progress=False, **options)
    module.prepare_data(stage)
    module.setup(stage)
    return module


def positions(batches: Iterable[VQABatch]) -> list[int]:
    return torch.cat([batch.positions for batch in batches]).tolist()


def same(one: VQABatch, other: VQABatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_what_is_known_after_setup(root: Path) -> None:
    module = ready(root)
    assert module.feature_dim == 18
    assert module.feature_kind == "objects"
    assert module.vocabulary.answer_names == ["2", "yes", "no", "metal"]
    assert module.vocabulary.encode(["How", "many", "Is", "sphere"])[:2] == [1, 2]
    assert module.type_names == module.dataset("val").questions.type_names
    assert module.has_answers("val")
    assert len(module.dataset("train")) == 35
    assert len(module.dataset("val")) == 15
    record = module.records("val", torch.tensor([4]))[0]
    assert record == (4, "CLEVR_val_000001.png", "How many things are there?", "2")


@pytest.mark.parametrize("batch_size", [1, 7, 15, 64])
@pytest.mark.parametrize("loader", ["val", "test", "predict"])
def test_evaluation_keeps_order_and_loses_nothing(root: Path, batch_size: int, loader: str) -> None:
    stage = {"val": "validate"}.get(loader, loader)
    module = ready(root, stage, eval_batch_size=batch_size, split="val")
    batches = list(getattr(module, f"{loader}_dataloader")())
    assert positions(batches) == list(range(15))
    assert len(batches) == -(-15 // batch_size)


def test_batches_hold_what_the_files_hold(root: Path) -> None:
    module = ready(root, batch_size=11)
    questions = make_questions("train", 7, 5)
    vocabulary = module.vocabulary
    words = ["<padding>", *vocabulary.words]
    for batch in module.train_dataloader():
        assert batch.features.shape[0] == len(batch.num_cells) == len(set(batch_images(batch)))
        for row, position in enumerate(batch.positions.tolist()):
            length = int(batch.lengths[row])
            text = " ".join(words[token] for token in batch.tokens[row, :length])
            question = questions[position]
            assert text == question["question"].replace("?", " ?").replace(";", " ;")
            assert not batch.tokens[row, length:].any()
            assert vocabulary.answer_names[batch.answers[row]] == question["answer"]
            assert int(batch.program_lengths[row]) == len(question["program"])
            image = int(batch.image_index[row])
            cells = int(batch.num_cells[image])
            objects = make_scene(question["image_index"], 1 + question["image_index"] % 4)
            assert cells == len(objects["objects"])
            assert (batch.features[image, :cells, :15].sum(-1) == 4).all()
            assert not batch.features[image, cells:].any()
            # The height and the coordinate y belong to the image alone.
            y = 0.8 * batch.features[image, 0, 15] - 0.6 * batch.features[image, 0, 16]
            assert float(y) * 3 == pytest.approx(0.1 * question["image_index"], abs=1e-6)


def batch_images(batch: VQABatch) -> list[bytes]:
    return [features.numpy().tobytes() for features in batch.features]


def test_types_and_dtypes(root: Path) -> None:
    batch = next(iter(ready(root).val_dataloader()))
    assert batch.features.dtype == torch.float32
    others = [tensor for name, tensor in batch._asdict().items() if name != "features"]
    assert all(tensor.dtype == torch.int64 for tensor in others)
    assert batch.tokens.shape == (15, int(batch.lengths.max()))


def test_training_order_is_a_function_of_seed_and_epoch(root: Path) -> None:
    orders = {}
    for seed, epoch in [(0, 0), (0, 1), (1, 0), (0, 1), (0, 0), (1, 0)]:
        loader = ready(root, seed=seed, batch_size=8).train_dataloader()
        loader.sampler.set_epoch(epoch)
        torch.rand(epoch + 1)  # the state of the global generator must not matter
        order = positions(loader)
        assert sorted(order) == list(range(35))
        assert orders.setdefault((seed, epoch), order) == order
    assert len(set(map(tuple, orders.values()))) == 3


def test_loaders_leave_the_global_generator_alone(root: Path) -> None:
    module = ready(root)
    before = torch.get_rng_state()
    list(module.train_dataloader())
    list(module.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("stop", [0, 3, 5])
def test_training_goes_on_in_the_middle_of_an_epoch(root: Path, stop: int) -> None:
    module = ready(root, batch_size=8)
    whole = module.train_dataloader()
    whole.sampler.set_epoch(2)
    rest = positions(whole)[8 * stop :]
    begun = module.train_dataloader()
    begun.sampler.set_epoch(2)
    iterator = iter(begun)
    for _ in range(stop):
        next(iterator)
    resumed = module.train_dataloader()
    resumed.load_state_dict(begun.state_dict())
    whole.sampler.set_epoch(3)
    following = positions(whole)
    if rest:
        assert positions(resumed) == rest
        resumed.sampler.set_epoch(3)
    assert resumed.sampler.epoch == 3
    assert positions(resumed) == following
    assert len(resumed) == 5


class Recorder(pl.LightningModule):
    """Learns nothing, and keeps the positions that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[int]] = {"train": [], "val": [], "predict": []}

    def training_step(self, batch: VQABatch, index: int) -> torch.Tensor:
        self.seen["train"] += batch.positions.tolist()
        return self.weight * batch.features.sum()

    def validation_step(self, batch: VQABatch, index: int) -> None:
        self.seen["val"] += batch.positions.tolist()

    def predict_step(self, batch: VQABatch, index: int) -> torch.Tensor:
        self.seen["predict"] += batch.positions.tolist()
        return batch.positions

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("steps", [1, 3, 5, 7, 10, 14])
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # of Lightning itself
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_lightning_resumes_with_the_next_example(root: Path, tmp_path: Path, steps: int) -> None:
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options |= {"accelerator": "cpu", "num_sanity_val_steps": 0, "max_epochs": 3}
    module = CLEVRDataModule(root, batch_size=8, progress=False)
    whole, resumed = Recorder(), Recorder()
    saver = ModelCheckpoint(tmp_path / "saved", "{step}", every_n_train_steps=1, save_top_k=-1)
    pl.Trainer(callbacks=[saver], **options).fit(whole, datamodule=module)
    last = pl.Trainer(enable_checkpointing=False, **options)
    again = CLEVRDataModule(root, batch_size=8, progress=False)
    checkpoint = tmp_path / "saved" / f"step={steps}.ckpt"
    last.fit(resumed, datamodule=again, ckpt_path=checkpoint, weights_only=True)
    epochs, batches = divmod(steps, 5)
    assert resumed.seen["train"] == whole.seen["train"][35 * epochs + 8 * batches :]
    assert whole.seen["val"] == list(range(15)) * 3
    last.predict(resumed, datamodule=module)
    assert resumed.seen["predict"] == list(range(15))


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_the_examples(world_size: int) -> None:
    shards = [ShardSampler(13, False, 0, rank, world_size) for rank in range(world_size)]
    assert sorted(index for shard in shards for index in shard) == list(range(13))
    assert all(len(list(shard)) == len(shard) and list(shard) == sorted(shard) for shard in shards)
    shuffled = [ShardSampler(13, True, 0, rank, world_size) for rank in range(world_size)]
    assert {index for shard in shuffled for index in shard} == set(range(13))
    assert {len(list(shard)) for shard in shuffled} == {len(shuffled[0])} == {-(-13 // world_size)}


@pytest.mark.parametrize("features", ["state", "grid"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_workers_change_nothing(root: Path, features: str) -> None:
    grid = np.random.default_rng(0).normal(size=(9, 5, 3, 2)).astype(np.float16)
    write_grid(root, "train", grid)
    write_grid(root, "val", grid)
    alone = ready(root, features=features, batch_size=4)
    list(alone.val_dataloader())  # opens files before the fork
    shared = ready(root, features=features, batch_size=4, num_workers=2)
    for name in ("val_dataloader", "train_dataloader"):
        one, two = getattr(alone, name)(), getattr(shared, name)()
        for epoch in (0, 1):
            one.sampler.set_epoch(epoch)
            two.sampler.set_epoch(epoch)
            assert all(map(same, list(one), list(two)))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.slow  # PyTorch waits five seconds for a worker whose loader was given up
def test_mistakes_found_by_workers_are_one_line(root: Path) -> None:
    grid = np.zeros((7, 5, 3, 2), np.float32)
    write_grid(root, "train", grid)
    grid[3] = np.nan
    write_grid(root, "val", grid)
    module = ready(root, features="grid", num_workers=1)
    with pytest.raises(UserError) as caught:
        list(module.val_dataloader())
    path = root / "features" / "val_features.hdf5"
    assert str(caught.value) == f"{path}: row 3 holds NaN or infinity"


def test_fraction_takes_whole_images(root: Path) -> None:
    chosen = {}
    for fraction in (0.3, 0.6, 1.0):
        train = ready(root, fraction=fraction, seed=4).dataset("train")
        rows = train.questions.image_rows[train.positions]
        assert {int(row) for row in rows} <= set(range(7))
        assert (np.unique(rows, return_counts=True)[1] == 5).all()
        assert (np.diff(train.positions) > 0).all()
        chosen[fraction] = set(train.positions.tolist())
    assert [len(part) for part in chosen.values()] == [10, 20, 35]
    assert chosen[0.3] < chosen[0.6] < chosen[1.0]
    again = ready(root, fraction=0.3, seed=4)
    assert set(again.dataset("train").positions.tolist()) == chosen[0.3]
    assert len(again.dataset("val")) == 15
    assert set(positions(again.train_dataloader())) == chosen[0.3]
    assert len(choose_images(np.arange(10), 0.01, 0)) == 1
    assert again.vocabulary.to_dict() == ready(root).vocabulary.to_dict()


def test_vocabulary_is_of_train_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = make_questions("val", 5, 3)
    questions[2] |= {"question": "Is the pyramid red?", "answer": "perhaps"}
    write_questions(root, "val", questions)
    module = CLEVRDataModule(root, progress=False)
    said = []
    monkeypatch.setattr("dact.datamodules.base.rank_zero_info", said.append)
    module.prepare_data("fit")
    module.setup("fit")
    module.setup("validate")
    (batch,) = module.val_dataloader()
    vocabulary = module.vocabulary
    assert vocabulary.answer_id("perhaps") == -1
    assert batch.answers[2] == -1
    assert batch.tokens[2].tolist()[2] == vocabulary.unknown_word
    assert int(batch.tokens.max()) < vocabulary.num_words
    assert module.records("val", [2])[0].answer == "perhaps"
    assert said == ["1 answers of val never occur in train: scored as wrong"]


def test_a_given_vocabulary_needs_no_training_data(root: Path, tmp_path: Path) -> None:
    trained = ready(root)
    words = trained.vocabulary.to_dict()
    other = write_clevr(tmp_path / "other")
    for file in other.glob("*/*train*"):
        file.unlink()
    module = ready(other, "predict", vocabulary=Vocabulary.from_dict(words))
    assert same(next(iter(module.predict_dataloader())), next(iter(trained.val_dataloader())))
    with pytest.raises(UserError, match=r"CLEVR_train_questions\.json is missing.*splits: val$"):
        ready(other, "predict")


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


def test_grid_files_may_have_more_rows_but_not_fewer(root: Path) -> None:
    write_grid(root, "train", np.zeros((50, 5, 3, 2), np.float16))
    path = write_grid(root, "val", np.zeros((50, 5, 3, 2), np.float32))
    module = ready(root, features="grid")
    assert (module.feature_dim, module.feature_kind) == (5, "grid")
    batch = next(iter(module.val_dataloader()))
    assert batch.features.shape == (5, 5, 3, 2)
    assert batch.num_cells.tolist() == [6] * 5
    write_grid(root, "val", np.zeros((4, 5, 3, 2), np.float32))
    with pytest.raises(UserError) as caught:
        ready(root, features="grid")
    image = "CLEVR_val_000004.png"
    message = f"question 12 asks about {image}, row 4 of {path}, which has only 4 rows"
    assert str(caught.value) == message
    write_grid(root, "val", np.zeros((50, 6, 3, 2), np.float32))
    with pytest.raises(UserError, match=r"features of different widths: \{'train': 5, 'val': 6\}"):
        ready(root, features="grid")


def test_question_before_the_first_row(root: Path) -> None:
    questions = make_questions("val", 5, 3)
    questions[7]["image_index"] = -1
    write_questions(root, "val", questions)
    with pytest.raises(UserError, match=r"question 7 asks about CLEVR_val_000002\.png, row -1"):
        ready(root)


def test_test_split_has_no_answers(root: Path) -> None:
    questions = make_questions("test", 5, 3)
    for question in questions:
        del question["answer"]
    write_questions(root, "test", questions)
    write_grid(root, "test", np.zeros((5, 5, 3, 2), np.float32))
    module = CLEVRDataModule(root, features="grid", progress=False)
    module.prepare_data("test")
    module.setup("test")
    assert not module.has_answers("test")
    (batch,) = module.test_dataloader()
    assert (batch.answers == -1).all()
    assert module.records("test", [0])[0].answer is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.0}, r"data\.fraction=0\.0 is not in \(0, 1\]"),
        ({"fraction": 1.5}, r"data\.fraction=1\.5 is not in \(0, 1\]"),
        ({"batch_size": 0}, r"data\.batch_size=0 is less than 1"),
        ({"eval_batch_size": 0}, r"data\.eval_batch_size=0 is less than 1"),
        ({"num_workers": -1}, r"data\.num_workers=-1 is less than 0"),
        ({"features": "objects"}, r"data\.features=objects is neither"),
        ({"split": "valB"}, r"CLEVR_valB_questions\.json is missing.*splits: train, val$"),
        ({"features": "grid", "split": "val"}, r"val_features\.hdf5 is missing: make it with"),
    ],
)
def test_wrong_options_are_named(root: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        ready(root, "validate", **options)
    assert "\n" not in str(caught.value)


def test_missing_and_empty_files_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*nowhere: no such folder"):
        ready(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(UserError, match=r"data\.root=.*nowhere: no such folder"):
        _ = CLEVRDataModule(tmp_path / "nowhere").cache_dir
    (root / "scenes" / "CLEVR_val_scenes.json").unlink()
    with pytest.raises(UserError, match=r"CLEVR_val_scenes\.json is missing: .*features=grid"):
        ready(root)
    write_questions(root, "val", [])
    write_grid(root, "val", np.zeros((5, 5, 3, 2), np.float32))
    with pytest.raises(UserError, match=r"CLEVR_val_questions\.json has no questions"):
        ready(root, "validate", features="grid")
    questions = make_questions("train", 7, 5)
    write_questions(root, "train", [{**question, "answer": None} for question in questions])
    with pytest.raises(UserError, match=r"CLEVR_train_questions\.json.*it has no answers"):
        ready(root, "validate", features="grid")


@pytest.mark.slow
def test_no_warnings_outside_of_pytest(root: Path) -> None:
    program = (
        "import sys; from dact.datamodules import CLEVRDataModule as M; m = M(sys.argv[1]);"
        "m.prepare_data(); m.setup(); print(sum(len(b.tokens) for b in m.train_dataloader()))"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("35\n", "")


@pytest.mark.skipif("DACT_CLEVR_DIR" not in os.environ, reason="DACT_CLEVR_DIR is not set")
def test_real_clevr_files(tmp_path: Path) -> None:
    root = Path(os.environ["DACT_CLEVR_DIR"]) / "symbolic"
    module = ready(root, cache_dir=tmp_path, batch_size=128)
    train, val = module.dataset("train"), module.dataset("val")
    assert [len(train), len(val), len(train.features), len(val.features)] == [
        20000, 1000, 2000, 100
    ]  # fmt: skip
    assert train.questions.lengths.mean() == pytest.approx(19.6, abs=0.05)
    assert len({word.lower() for word in module.vocabulary.words}) == 82
    assert (train.questions.question_types < module.type_names.index("unknown")).all()
    assert sorted(set(train.questions.families)) == list(range(90))
    assert sorted(positions(module.train_dataloader())) == list(range(20000))
    scenes = json.loads((root / "scenes" / "CLEVR_val_scenes.json").read_text())["scenes"]
    features, num_cells = val.features.read(np.arange(100))
    assert np.abs(features).max() < 1.5
    for scene, state, cells in zip(scenes, features, num_cells, strict=True):
        assert cells == len(scene["objects"])
        for column, name, sign in [(15, "right", 1), (15, "left", -1), (16, "front", 1)]:
            for index, others in enumerate(scene["relationships"][name]):
                further = sign * state[others, column] > sign * state[index, column]
                assert further.all()
