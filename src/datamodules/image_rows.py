"""Which row of a feature store each question's image is: by name, or else by number."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from dact.errors import UserError

from .features import FeatureStore
from .image_names import ImageNames, rows_by_name
from .questions import PackedQuestions


def join_images(
    questions: PackedQuestions,
    store: FeatureStore,
    split: str,
    where: Path,
    missing_images: str,
) -> PackedQuestions:
    """Give each question of `split` the row of its image, and say how many are left out.

    See `find_rows` for the arguments and errors.
    """
    rows = find_rows(questions, store, where, missing_images)
    if left_out := int(np.count_nonzero(rows < 0)):
        images = np.unique(questions.image_places[rows < 0])
        rank_zero_info(
            f"{left_out:,} of {len(rows):,} questions of {split} are left out: {where} has no "
            f"features of {len(images):,} of {len(questions.images):,} images, such as "
            f"{questions.images[images[0]]}"
        )
    return questions.joined(rows)


def find_rows(
    questions: PackedQuestions, store: FeatureStore, where: Path, missing_images: str
) -> NDArray[np.int64]:
    """Row of the image of each question.

    Names decide where both sides have them. A name matches its equal, or else the only one that
    differs no more than in extension and outer folders, or in a folder that one of them lacks.
    Where one side has no names, `image_index` decides.

    Args:
        questions: of a split.
        store: features of its images.
        where: the file of the features that a user knows, for messages.
        missing_images: "refuse", or "skip" to give -1 for an image without features.

    Returns:
        (Q,) rows, -1 for questions that are to be left out.

    Raises:
        UserError: names and numbers contradict each other, no question has features, the numbers
            begin elsewhere than the rows, or `missing_images` is "refuse" and an image has none.
    """
    known = store.images
    rows = _join(questions, known, len(store), where)
    skipped = np.zeros(len(rows), np.bool_)
    if known.skipped is not None:
        skipped = (rows >= 0) & known.skipped[rows]
    missing = (rows < 0) | skipped
    if missing.all() and not skipped.any() and _have_names(questions, known):
        raise UserError(
            f"{where} has features of none of the images that the questions ask about: they ask "
            f"about {questions.images[0]}, and it names {_some(known.names)}: give the features of "
            "these images, or give the images the same names"
        )
    numbers = questions.image_numbers
    shifted = _counts_rows(questions, known) and _begin_elsewhere(numbers, len(store))
    if missing.all() or shifted or (missing.any() and missing_images == "refuse"):
        raise UserError(_refusal(questions, store, where, rows, missing))
    if not _have_names(questions, known):
        _check_numbers(questions)
    return np.where(missing, -1, rows)


def _have_names(questions: PackedQuestions, known: ImageNames) -> bool:
    return known.names is not None and any(known.names) and any(questions.images)


def _counts_rows(questions: PackedQuestions, known: ImageNames) -> bool:
    """Whether `image_index` is the row itself."""
    return known.numbers is None and not _have_names(questions, known)


def _begin_elsewhere(numbers: NDArray[np.int64], length: int) -> bool:
    """Whether numbers are past the last row, though as many rows as they span are there."""
    return numbers.max() >= length > numbers.max() - numbers.min()


def _join(
    questions: PackedQuestions, known: ImageNames, length: int, where: Path
) -> NDArray[np.int64]:
    """Rows by name, else by number; -1 where there is none."""
    numbers = questions.image_numbers
    by_number = _rows_by_number(numbers, known.numbers, length, where)
    if not _have_names(questions, known):
        return by_number
    places = questions.image_places
    by_name = rows_by_name(questions.images, known.names, where)[places]
    has_name = np.array([bool(name) for name in questions.images])[places]
    if known.numbers is None:
        return np.where(has_name, by_name, by_number)
    row_has_name = np.array([*map(bool, known.names), False])  # the last: of row -1
    contradicts = (by_name != by_number) & has_name & ((by_name >= 0) | row_has_name[by_number])
    if contradicts.any():
        question = int(np.argmax(contradicts))
        raise UserError(_contradiction(questions, known, question, by_name, by_number, where))
    return np.where(by_name >= 0, by_name, by_number)


def _rows_by_number(
    wanted: NDArray[np.int64], numbers: NDArray[np.int64] | None, length: int, where: Path
) -> NDArray[np.int64]:
    if numbers is None:
        return np.where((wanted >= 0) & (wanted < length), wanted, -1)
    if not len(numbers):
        return np.full(len(wanted), -1)
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    twice = np.intersect1d(ordered[1:][ordered[1:] == ordered[:-1]], wanted)
    if len(twice):
        raise UserError(f"{where} gives two rows the image_index {twice[0]}: make it anew")
    places = np.searchsorted(ordered, wanted).clip(max=len(numbers) - 1)
    return np.where(ordered[places] == wanted, order[places], -1)


def _check_numbers(questions: PackedQuestions) -> None:
    """Refuse questions whose numbers contradict their names, where the numbers decide.

    A split that calls all its images the same has placeholders instead of names.
    """
    names, places, numbers = questions.images, questions.image_places, questions.image_numbers
    if len(names) < 2:
        return
    _, first = np.unique(places, return_index=True)
    other = np.flatnonzero(numbers != numbers[first][places])
    other = [question for question in other if names[places[question]]]
    if other:
        question, name = other[0], names[places[other[0]]]
        raise UserError(
            f"{_label(questions, question)} says that {name} has image_index {numbers[question]}, "
            f"but {_label(questions, first[places[question]])} says "
            f"{numbers[first[places[question]]]}"
        )
    _, first, number = np.unique(numbers, return_index=True, return_inverse=True)
    other = np.flatnonzero(places != places[first][number])
    other = [q for q in other if names[places[q]] and names[places[first[number[q]]]]]
    if other:
        question, before = other[0], first[number[other[0]]]
        raise UserError(
            f"{_label(questions, question)} says that image_index {numbers[question]} is "
            f"{names[places[question]]}, but {_label(questions, before)} says "
            f"{names[places[before]]}"
        )


def _label(questions: PackedQuestions, position: int) -> str:
    return f"question {questions.record(int(position)).question_id}"


def _contradiction(
    questions: PackedQuestions,
    known: ImageNames,
    question: int,
    by_name: NDArray[np.int64],
    by_number: NDArray[np.int64],
    where: Path,
) -> str:
    record = questions.record(question)
    number = questions.image_numbers[question]
    says = f"question {record.question_id} says that image_index {number} is {record.image}"
    row = by_number[question]
    if row >= 0 and known.names[row]:
        return f"{says}, but {where} calls it {known.names[row]}: one of the files is of other data"
    return (
        f"{says}, but {where} gives {record.image} image_index "
        f"{known.numbers[by_name[question]]}: one of the files is of other data"
    )


def _refusal(
    questions: PackedQuestions,
    store: FeatureStore,
    where: Path,
    rows: NDArray[np.int64],
    missing: NDArray[np.bool_],
) -> str:
    """What to say of images without features."""
    question = int(np.argmax(missing))
    record, known = questions.record(question), store.images
    about = f"question {record.question_id} asks about {record.image}, "
    number = questions.image_numbers[question]
    if rows[question] >= 0:
        reason = f"which could not be read when {where} was made: put the image right and make it"
        reason += " anew with overwrite=true"
    elif _have_names(questions, known):
        reason = f"which is not in {where}, nor under another extension; it names "
        reason += _some(known.names)
    elif known.numbers is not None and len(store):
        reason = f"row {number} of {where}, which has no image_index {number}, but "
        reason += f"{len(store)} images in {known.numbers.min()}..{known.numbers.max()}"
    else:
        reason = f"row {number} of {where}, which has only {len(store)} rows"
    numbers = questions.image_numbers
    if _counts_rows(questions, known) and _begin_elsewhere(numbers, len(store)):
        return (
            f"{about}{reason}, of images that it does not name; image_index is "
            f"{numbers.min()}..{numbers.max()} here, so a dataset 'images' has to give the number "
            "or name of the image of each row"
        )
    if missing.all():
        return f"{about}{reason}; no question has features"
    return (
        f"{about}{reason}; data.missing_images=skip leaves out such questions, "
        f"{np.count_nonzero(missing):,} of {len(missing):,}"
    )


def _some(names: Sequence[str]) -> str:
    """A few names."""
    some = [name for name in names[:4] if name]
    return ", ".join(some[:3]) + (", …" if len(names) > 3 else "")
