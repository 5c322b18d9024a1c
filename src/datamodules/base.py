"""What all datasets share: preprocessing once, splits, and loaders that lose no example."""

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from dact.errors import UserError
from dact.locks import waiting_for

from .cache import choose_cache_dir, content_fingerprint, remove_unfinished
from .collate import VQADataset
from .data_checks import check_options
from .dataset import Dataset
from .features import FeatureStore, Kind, check_same_kind
from .image_rows import join_images
from .loaders import ShardSampler, VQALoader, available_cores, make_loader
from .orders import choose_images
from .provenance import check_alike
from .question_cache import QuestionCache
from .questions import QuestionRecord
from .tokenizers import folder_of, identity
from .unseen import unseen
from .vocabulary import Vocabulary, choose_tokenizer


class VQADataModule(Dataset, pl.LightningDataModule):
    """Questions about images, with everything derived from them kept in a cache folder.

    A dataset says where its files are and how they are read (the abstract methods of `Dataset`).

    Args:
        root: folder of the dataset; never written to, except for the default `cache_dir`.
        cache_dir: folder for preprocessed data; by default `<root>/.dact`, or a folder of the
            user's cache if that cannot be written.
        batch_size: questions per training batch and process.
        eval_batch_size: questions per batch in evaluation, by default `batch_size`.
        num_workers: processes that make batches; 0 makes them in the main process.
        fraction: part of the training images whose questions are used, in (0, 1]; a smaller
            fraction is part of a larger one of the same seed.
        seed: of the order of training examples and the choice of images, at least 0.
        split: the split that validate, test and predict use; by default val, test and val.
        vocabulary: encode with it instead of one made from the training questions (which then
            need not be there unless the model is fitted).
        base: a vocabulary that the training questions' new words and answers are added to; it is
            of no use beside `vocabulary`.
        tokenizer: see `load_tokenizer`; None: that of `vocabulary` or `base`, else treebank.
        group_by_length: train on batches of questions of similar length, which saves padding.
        questions_per_image: train on batches with this many questions about an image, as far as
            there are, which saves most of the work on images.
        missing_images: what to do with questions about images that have no features: "refuse",
            or "skip" to leave them out.
        same_epochs: train on the same batches in the same order in every epoch.
        progress: show bars while long files are read.

    Raises:
        UserError: a number out of its range, or another `missing_images`.
    """

    def __init__(
        self,
        root: str | Path,
        cache_dir: str | Path | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        fraction: float = 1.0,
        seed: int = 0,
        split: str | None = None,
        vocabulary: Vocabulary | None = None,
        base: Vocabulary | None = None,
        tokenizer: str | None = None,
        group_by_length: bool = False,
        questions_per_image: int = 1,
        missing_images: Literal["refuse", "skip"] = "refuse",
        same_epochs: bool = False,
        progress: bool = True,
    ) -> None:
        super().__init__()
        self.missing_images = missing_images
        self.group_by_length = group_by_length
        self.questions_per_image = questions_per_image
        self.same_epochs = same_epochs
        self.root = Path(root).expanduser()
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.num_workers = num_workers
        self.fraction = fraction
        self.seed = seed
        self.split = split
        self.progress = progress
        self._given_cache_dir = None if cache_dir is None else Path(cache_dir).expanduser()
        self._given_vocabulary = vocabulary
        self._base = base
        self.tokenizer = choose_tokenizer(tokenizer, vocabulary or base)
        check_options(self)
        self._cache_dir: Path | None = None
        self._datasets: dict[str, VQADataset] = {}
        self._said: set[str] = set()
        self._stage = "fit"

    @property
    def cache_dir(self) -> Path:
        """Folder for all that is derived from the data; it exists."""
        if self._cache_dir is None:
            if not self.root.is_dir():
                raise UserError(f"data.root={self.root}: no such folder; set data.root")
            self._cache_dir = choose_cache_dir(self.root, self._given_cache_dir)
            if self._given_cache_dir is None and self._cache_dir.parent != self.root:
                rank_zero_info(f"{self.root} cannot be written: the cache is {self._cache_dir}")
        return self._cache_dir

    def splits_of(self, stage: str) -> list[str]:
        """Splits that fit, validate, test or predict uses; the last is the one it evaluates."""
        if stage == "fit":
            return [self.train_split, self.val_split]
        return [self.split or (self.test_split if stage == "test" else self.val_split)]

    def prepare_data(self, stage: str | None = None) -> None:
        """Preprocess what `stage` needs and is not yet there, or is stale.

        Lightning calls it without `stage`: then it is what the trainer is about to do. Safe to
        call from several processes at once.
        """
        splits = self.splits_of(stage or self._trainer_stage())
        for split in splits:
            self.check_questions(split)
            self.check_features(split)
        with waiting_for(self.cache_dir / "prepare.lock", "data.cache_dir=PATH"):
            self._questions.folder.mkdir(parents=True, exist_ok=True)
            for folder in {self.cache_dir, self._questions.folder}:
                remove_unfinished(folder)
            self._questions.prepare(splits)
            for split in splits:
                self.prepare_features(split)

    def setup(self, stage: str | None = None) -> None:
        """Open what `stage` needs and check that every question has its image.

        Raises:
            UserError: features that are missing, damaged or too few.
            RuntimeError: `prepare_data` was not called.
        """
        self._stage = stage or self._trainer_stage()
        splits = self.splits_of(self._stage)
        check_same_kind({split: self.dataset(split).features for split in splits})
        check_alike({split: self.dataset(split).features.made_by for split in splits})

    def dataset(self, split: str) -> VQADataset:
        """Examples of a prepared split; for training, those of the chosen fraction."""
        if split not in self._datasets:
            questions = self._questions.open(split)
            for note in unseen(questions, self.vocabulary, split, self.train_split):
                rank_zero_info(note)
            features = self.open_features(split)
            where = self.features_file(split)
            questions = join_images(questions, features, split, where, self.missing_images)
            fraction = self.fraction if split == self.train_split else 1.0
            chosen = choose_images(questions.image_rows, fraction, self.seed)
            self._datasets[split] = VQADataset(questions, features, chosen)
        return self._datasets[split]

    def say_once(self, line: str) -> None:
        """Tell the user something, however often the data are prepared."""
        if line not in self._said:
            rank_zero_info(line)
        self._said.add(line)

    @property
    def vocabulary(self) -> Vocabulary:
        """Words and answers that the questions are encoded with."""
        return self._questions.vocabulary()

    @property
    def store(self) -> FeatureStore:
        """Features of the split that is evaluated; in a fit, of the training split."""
        return self.dataset(self.splits_of(self._stage)[0]).features

    @property
    def feature_dim(self) -> int:
        """C, features of a knowledge cell."""
        return self.store.feature_dim

    @property
    def feature_kind(self) -> Kind:
        """What a knowledge cell is."""
        return self.store.kind

    @property
    def backbone(self) -> dict[str, Any] | None:
        """What made the image features of `store`, where their file says so."""
        return getattr(self.store, "backbone", None)

    @property
    def fingerprint(self) -> str:
        """12 hex digits of what a model is trained on: questions, features, fraction and seed.

        It stays the same for the same content, wherever and whenever it was written.
        """
        chosen = (self.fraction, self.seed if self.fraction < 1 else None)
        chosen += identity(self.tokenizer)
        digest = hashlib.sha256(self.dataset(self.train_split).identity(chosen))
        digest.update(content_fingerprint(self.question_files(self.train_split)).encode())
        return digest.hexdigest()[:12]

    def has_answers(self, split: str) -> bool:
        """Whether the questions of a prepared split have gold answers."""
        return self.dataset(split).questions.has_answers

    def records(self, split: str, positions: Iterable[int]) -> list[QuestionRecord]:
        """Ids and texts of questions by their position in the split (`VQABatch.positions`)."""
        questions = self.dataset(split).questions
        return [questions.record(int(position)) for position in positions]

    def train_dataloader(self) -> VQALoader:
        """Training examples in an order that depends on seed and epoch alone."""
        loader = self._loader(self.train_split, self.batch_size, shuffle=True)
        loader.end_epochs_early(self.trainer.limit_train_batches if self.trainer else 1.0)
        return loader

    def val_dataloader(self) -> VQALoader:
        """Validation examples in dataset order."""
        stage = "fit" if self._stage == "fit" else "validate"
        return self._loader(self.splits_of(stage)[-1], self.eval_batch_size)

    def test_dataloader(self) -> VQALoader:
        """Test examples in dataset order."""
        return self._loader(self.splits_of("test")[-1], self.eval_batch_size)

    def predict_dataloader(self) -> VQALoader:
        """Examples to predict, in dataset order."""
        return self._loader(self.splits_of("predict")[-1], self.eval_batch_size)

    def _loader(self, split: str, batch_size: int, shuffle: bool = False) -> VQALoader:
        dataset = self.dataset(split)
        shard = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        sampler = ShardSampler.of(
            dataset,
            shuffle,
            self.seed,
            *shard,
            batch_size=batch_size,
            group_by_length=self.group_by_length,
            questions_per_image=self.questions_per_image,
            same_epochs=self.same_epochs,
        )
        return make_loader(dataset, sampler, batch_size, self.num_workers)

    @functools.cached_property
    def _questions(self) -> QuestionCache:
        grown = f"grown-{self._base.fingerprint}" if self._base else ""
        return QuestionCache(
            self.cache_dir / self.variant / folder_of(self.tokenizer) / grown,
            self,
            self.train_split,
            self._given_vocabulary,
            self._base,
            workers=min(8, available_cores()),
            progress=self.progress,
        )

    def _trainer_stage(self) -> str:
        function = self.trainer.state.fn if self.trainer else None
        return function.value if function else "fit"
