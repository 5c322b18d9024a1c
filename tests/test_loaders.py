import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from clevr_files import positions, ready, same, write_clevr, write_grid
from pytorch_lightning.callbacks import ModelCheckpoint

from dact.batch import VQABatch
from dact.datamodules import CLEVRDataModule, ShardSampler
from dact.datamodules.loaders import dead_workers_in_one_line
from dact.datamodules.orders import choose_images
from dact.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_clevr(tmp_path / "clevr")


@pytest.mark.parametrize("batch_size", [1, 7, 15, 64])
@pytest.mark.parametrize("loader", ["val", "test", "predict"])
def test_evaluation_keeps_order_and_loses_nothing(root: Path, batch_size: int, loader: str) -> None:
    stage = {"val": "validate"}.get(loader, loader)
    module = ready(root, stage, eval_batch_size=batch_size, split="val")
    batches = list(getattr(module, f"{loader}_dataloader")())
    assert positions(batches) == list(range(15))
    assert len(batches) == -(-15 // batch_size)


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


@pytest.mark.parametrize("world_size", [1, 2])
def test_grouping_by_length_keeps_every_example_and_saves_padding(world_size: int) -> None:
    size, batch_size = 1009, 7
    lengths = np.random.default_rng(0).integers(3, 40, size)

    def batches(**options: Any) -> list[np.ndarray]:
        shards = [
            list(ShardSampler(size, True, 3, rank, world_size, **options))
            for rank in range(world_size)
        ]
        assert set().union(*shards) == set(range(size))
        starts = range(0, len(shards[0]), batch_size)
        return [lengths[shard[start : start + batch_size]] for shard in shards for start in starts]

    def padding(parts: list[np.ndarray]) -> int:
        return sum(int((part.max() - part).sum()) for part in parts)

    grouped = batches(lengths=lengths, batch_size=batch_size)
    assert padding(grouped) < padding(batches(batch_size=batch_size)) / 5
    longest = [part.max() for part in grouped]
    assert longest != sorted(longest)  # the batches themselves are in a random order


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


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", ["TERM", "INT", "USR1", "USR2"])
def test_signals_to_all_processes_leave_workers_at_work(root: Path, name: str) -> None:
    module = ready(root, batch_size=4, num_workers=2)
    alone = list(ready(root, batch_size=4).val_dataloader())
    loader = module.val_dataloader()
    batches = iter(loader)
    first = next(batches)
    workers = loader._iterator._workers
    subprocess.run(["kill", f"-{name}", *(str(worker.pid) for worker in workers)], check=True)
    assert all(same(a, b) for a, b in zip([first, *batches], alone, strict=True))
    for worker in workers:
        assert worker.is_alive()
        worker.terminate()  # as PyTorch does with what does not end by itself
        worker.join(20)
        assert worker.exitcode == 0


def test_a_worker_s_death_is_one_line_wherever_pytorch_tells_of_it() -> None:
    killed = "DataLoader worker (pid 5) is killed by signal: Killed."
    with (
        pytest.raises(UserError, match=r"pid 5.*data\.num_workers"),
        dead_workers_in_one_line(),
    ):
        raise RuntimeError(killed)
    with pytest.raises(RuntimeError, match="out of memory"), dead_workers_in_one_line():
        raise RuntimeError("out of memory")


def test_fraction_takes_whole_images(root: Path) -> None:
    chosen = {}
    for fraction in (0.3, 0.6, 1.0):
        train = ready(root, fraction=fraction, seed=4).dataset("train")
        own = train.of_examples(np.arange(35))
        rows = train.questions.image_rows[own]
        assert {int(row) for row in rows} <= set(range(7))
        assert (np.unique(rows, return_counts=True)[1] == 5).all()
        assert (np.diff(own) > 0).all()
        chosen[fraction] = set(own.tolist())
    assert [len(part) for part in chosen.values()] == [10, 20, 35]
    assert chosen[0.3] < chosen[0.6] < chosen[1.0]
    again = ready(root, fraction=0.3, seed=4)
    assert set(again.dataset("train").positions.tolist()) == chosen[0.3]
    assert len(again.dataset("val")) == 15
    assert set(positions(again.train_dataloader())) == chosen[0.3]
    assert len(choose_images(np.arange(10), 0.01, 0)) == 1
    assert again.vocabulary.to_dict() == ready(root).vocabulary.to_dict()
