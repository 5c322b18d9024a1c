"""What each dataset has to define: its splits, its files, and how they are read."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from .features import FeatureStore
from .questions import Question


class Dataset(ABC):
    """A dataset of questions about images, as `VQADataModule` needs it (see `QuestionSource`)."""

    train_split = "train"
    val_split = "val"
    test_split = "test"
    type_names: tuple[str, ...] = ()
    lowercase = False
    integer_ids = False
    variant = ""
    """Subfolder of the cache for questions, where one root holds several sets of them."""
    other_split = ""
    """Split with answers that asks for more than the one for validation, where there is one."""

    @abstractmethod
    def check_questions(self, split: str) -> None:
        """Raise a UserError that helps if questions of `split` are missing."""

    @abstractmethod
    def check_features(self, split: str) -> None:
        """Raise a UserError that helps if features of `split` are missing."""

    @abstractmethod
    def question_files(self, split: str) -> Sequence[Path]:
        """The files of `split`, in order."""

    @staticmethod
    @abstractmethod
    def read_file(path: Path, progress: bool = False) -> Iterator[Question]:
        """The questions of one of these files, in its order."""

    @abstractmethod
    def open_features(self, split: str) -> FeatureStore:
        """The store with the features of the images of `split`."""

    def features_file(self, split: str) -> Path:
        """The file that a user knows the features of `split` by, for messages."""
        return self.open_features(split).path

    def prepare_features(self, split: str) -> None:  # noqa: B027 - most need nothing
        """Write what `open_features` needs, if anything; called under the cache's lock."""
