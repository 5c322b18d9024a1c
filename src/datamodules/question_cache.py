"""The vocabulary and the packed questions of a dataset, in one folder, made when stale."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from dact.errors import UserError

from .cache import source_stamp
from .question_shards import pack_shards
from .question_writer import write_packed
from .questions import PackedQuestions, Question
from .tokenizers import identity
from .vocabulary import Vocabulary, VocabularyBuilder


class QuestionSource(Protocol):
    """A dataset's own question files."""

    type_names: tuple[str, ...]
    """Names of the question types."""
    lowercase: bool
    """Whether questions are lower-cased before they are cut into words."""
    tokenizer: str
    """What cuts them, see `load_tokenizer`."""
    integer_ids: bool
    """Whether question ids are integers."""

    def check_questions(self, split: str) -> None:
        """Raise a UserError that helps if questions of `split` are missing."""
        ...

    def question_files(self, split: str) -> Sequence[Path]:
        """The files of `split`, in order."""
        ...

    def read_file(self, path: Path, progress: bool) -> Iterator[Question]:
        """The questions of one of these files, in its order."""
        ...


class QuestionCache:
    """One packed file per split, and `vocabulary.json`, made from the training questions.

    Args:
        folder: where the files are; it exists when `prepare` is called.
        source: the questions.
        train_split: the split that words and answers come from, always all of it.
        vocabulary: encode with it instead. Its files lie beside the others under its fingerprint,
            unless it is the training vocabulary itself.
        base: what the training questions bring is added to it; give each its own folder.
        workers: processes that read the shards of a split.
        progress: show bars while long files are read.
    """

    def __init__(
        self,
        folder: Path,
        source: QuestionSource,
        train_split: str,
        vocabulary: Vocabulary | None = None,
        base: Vocabulary | None = None,
        workers: int = 1,
        progress: bool = False,
    ) -> None:
        self.folder = folder
        self.workers = workers
        self.progress = progress
        self.source = source
        self.train_split = train_split
        self._given = vocabulary
        self._vocabulary = vocabulary
        self._base = base

    def prepare(self, splits: Iterable[str]) -> None:
        """Write what `splits` lack. Call it under a lock of the folder."""
        vocabulary = self._given or self._prepare_training_vocabulary()
        self._vocabulary = vocabulary
        for split in splits:
            path = self._path(split)
            if not PackedQuestions.is_current(path, self._stamp(split), vocabulary.fingerprint):
                self._pack(split, path, vocabulary)

    def vocabulary(self) -> Vocabulary:
        """The vocabulary that all splits are encoded with.

        Raises:
            RuntimeError: it is still to be made.
        """
        if self._vocabulary is None:
            self._vocabulary = self._load_vocabulary()
        if self._vocabulary is None:
            raise RuntimeError(f"{self.folder} has no vocabulary: call prepare_data first")
        return self._vocabulary

    def open(self, split: str) -> PackedQuestions:
        """Packed questions of a split that was prepared.

        Raises:
            RuntimeError: it was not, or its source has changed since.
        """
        path = self._path(split)
        fingerprint = self.vocabulary().fingerprint
        if not PackedQuestions.is_current(path, self._stamp(split), fingerprint):
            raise RuntimeError(f"questions of {split} are not prepared: call prepare_data first")
        return PackedQuestions(path)

    @property
    def _vocabulary_path(self) -> Path:
        return self.folder / "vocabulary.json"

    def _prepare_training_vocabulary(self) -> Vocabulary:
        """Number words and answers, and pack the training questions, in one pass over them."""
        split = self.train_split
        self.source.check_questions(split)
        packed = self.folder / f"questions_{split}.h5"
        vocabulary = self._load_vocabulary()
        if not (vocabulary and self._is_trained_on(vocabulary, packed)):
            builder = VocabularyBuilder(self.source.lowercase, self._base, self.source.tokenizer)
            self._pack(split, packed, builder)
            vocabulary = builder.finish()
            vocabulary.save(self._vocabulary_path)
        if not PackedQuestions(packed).has_answers:
            raise UserError(
                f"{self._where(split)}: nothing to learn from, it has no answers: "
                "choose a split that has, with data.train_split=NAME"
            )
        return vocabulary

    def _is_trained_on(self, vocabulary: Vocabulary, packed: Path) -> bool:
        """Whether it is that of the training questions as they are now, packed with it."""
        stamp, base = self._stamp(self.train_split), self._base
        grown = base is None or vocabulary.extends(base)
        return grown and PackedQuestions.is_current(packed, stamp, vocabulary.fingerprint)

    def _load_vocabulary(self) -> Vocabulary | None:
        """The stored vocabulary, None if it is not there or damaged."""
        try:
            return Vocabulary.load(self._vocabulary_path)
        except UserError:
            return None

    def _path(self, split: str) -> Path:
        """Where the questions of a split are packed, or will be.

        Those of training get the plain name only together with the vocabulary that is made of
        them: that they are current shows that it is.
        """
        plain = self.folder / f"questions_{split}.h5"
        if self._given is None:
            return plain
        trained = self._load_vocabulary()
        same = trained is not None and trained.fingerprint == self._given.fingerprint
        if same and (split != self.train_split or self._is_trained_on(trained, plain)):
            return plain
        return self.folder / f"questions_{split}_{self._given.fingerprint}.h5"

    def _pack(self, split: str, path: Path, encoder: Vocabulary | VocabularyBuilder) -> None:
        source, files = self.source, self.source.question_files(split)
        settings: dict[str, Any] = {
            "source": self._stamp(split),
            "type_names": source.type_names,
            "integer_ids": source.integer_ids,
            "where": self._where(split),
        }
        if len(files) == 1:
            write_packed(path, source.read_file(files[0], self.progress), encoder, **settings)
        else:
            settings |= {"workers": self.workers, "progress": self.progress}
            pack_shards(path, files, source.read_file, encoder, **settings)

    def _stamp(self, split: str) -> str:
        source = self.source
        settings = (source.lowercase, source.type_names, source.integer_ids)
        own = identity(source.tokenizer)
        return source_stamp(source.question_files(split), *settings, *own)

    def _where(self, split: str) -> str:
        files = self.source.question_files(split)
        return str(files[0]) if len(files) == 1 else f"{files[0].parent} ({len(files)} files)"
