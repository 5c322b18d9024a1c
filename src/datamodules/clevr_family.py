"""Sets in the layout of CLEVR v1.0: CLEVR-CoGenT, and CLEVR-Humans beside CLEVR itself."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dact.errors import UserError

from .clevr import CLEVRDataModule, read_clevr_questions
from .questions import Question


class CLEVRCoGenTDataModule(CLEVRDataModule):
    """CLEVR-CoGenT v1.0: train on the colours of condition A, test on A and on B.

    In A cubes are gray, blue, brown or yellow and cylinders red, green, purple or cyan; in B it is
    the other way round; spheres have any colour. Splits: trainA, valA, valB, testA, testB.

    Args:
        root: folder of the dataset, in the layout of CLEVR v1.0.
        train_split: split for training, and for the vocabulary.
        val_split: split for validation.
        test_split: split for testing; the official ones have no answers.
        **options: see `CLEVRDataModule`.
    """

    other_split = "valB"

    def __init__(
        self,
        root: str | Path,
        *,
        train_split: str = "trainA",
        val_split: str = "valA",
        test_split: str = "testA",
        **options: Any,
    ) -> None:
        splits = {"train_split": train_split, "val_split": val_split, "test_split": test_split}
        super().__init__(root, **splits, **options)


class CLEVRHumansDataModule(CLEVRDataModule):
    """CLEVR-Humans: what people asked about the images of CLEVR v1.0 (Johnson et al. 2017).

    `root` is that of CLEVR v1.0. The questions are in `CLEVR-Humans-{split}.json`, in `root`, its
    folder questions/ or its folder CLEVR-Humans/, whichever has it first. Arguments: see
    `CLEVRDataModule`.
    """

    variant = "humans"

    @staticmethod
    def read_file(path: Path, progress: bool = False) -> Iterator[Question]:
        """The questions of a file; those without a number of their own have their place as one."""
        return read_clevr_questions(path, progress, numbered=False)

    def check_questions(self, split: str) -> None:
        """Raise a UserError that names the places looked at if questions of `split` are missing."""
        if self.root.is_dir() and not any(place.is_file() for place in self._places(split)):
            folders = ", ".join(str(place.parent) for place in self._places(split))
            raise UserError(
                f"{self._places(split)[0].name} is in none of {folders}: data.root should be that "
                "of CLEVR v1.0 with the files of CLEVR-Humans in it; fetch them with "
                "scripts/download.py data=clevr_humans"
            )
        super().check_questions(split)

    def question_files(self, split: str) -> Sequence[Path]:
        """The one file of a split."""
        places = self._places(split)
        return [next((place for place in places if place.is_file()), places[0])]

    def _places(self, split: str) -> list[Path]:
        name = f"CLEVR-Humans-{split}.json"
        return [self.root / name, self.root / "questions" / name, self.root / "CLEVR-Humans" / name]
