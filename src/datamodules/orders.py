"""Orders of the examples: random ones that keep together what is cheaper together, and shares."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dact.errors import UserError

#: The least value of each number that says what is served, and in what order.
_SMALLEST = {
    "batch_size": 1,
    "eval_batch_size": 1,
    "num_workers": 0,
    "seed": 0,
    "questions_per_image": 1,
}
#: Batches that are sorted by length together.
WINDOW = 50

Order = NDArray[np.int64]


def check_numbers(options: Mapping[str, Any]) -> None:
    """Refuse options of a data module that are out of range.

    Raises:
        UserError: names the option and its value.
    """
    for name, smallest in _SMALLEST.items():
        if options[name] < smallest:
            raise UserError(f"data.{name}={options[name]} is less than {smallest}")
    if not 0 < options["fraction"] <= 1:
        raise UserError(f"data.fraction={options['fraction']} is not in (0, 1]")


def choose_images(image_rows: NDArray[np.integer], fraction: float, seed: int) -> Order | None:
    """Positions of all questions about a random part of the images; None for all of them.

    Args:
        image_rows: (Q,) image of each question.
        fraction: part of the images, in (0, 1]; at least one image is chosen.
        seed: of the choice. With one seed, a smaller fraction is part of a larger one.
    """
    if fraction == 1:
        return None
    images = np.random.default_rng(seed).permutation(np.unique(image_rows))
    chosen = images[: max(1, round(fraction * len(images)))]
    return np.flatnonzero(np.isin(image_rows, chosen))


def group_by_image(
    order: Order, image_rows: NDArray[np.integer], size: int, rng: np.random.Generator
) -> tuple[Order, Order]:
    """Reorder examples so that up to `size` questions about an image follow each other.

    The questions of an image are cut into groups at random, and the groups shuffled.

    Args:
        order: (n,) a random order of examples.
        image_rows: image of each example.
        size: largest number of questions in a group.
        rng: shuffles the groups.

    Returns:
        The new order, and the group of each of its examples (n,).
    """
    order = order[np.argsort(image_rows[order], kind="stable")]
    images = image_rows[order]
    begins = np.r_[True, images[1:] != images[:-1]]
    place = np.arange(len(order))
    place_in_image = place - np.maximum.accumulate(np.where(begins, place, 0))
    groups = np.cumsum(place_in_image % size == 0) - 1
    shuffled = rng.permutation(groups[-1] + 1)[groups]
    by_group = np.argsort(shuffled, kind="stable")
    return order[by_group], shuffled[by_group]


def group_by_length(
    order: Order, lengths: NDArray[np.integer], batch_size: int, rng: np.random.Generator
) -> Order:
    """Reorder examples so that those of a batch have similar lengths, which saves padding.

    Windows of `WINDOW` batches are sorted by length and cut into batches, whose order is then
    shuffled over the whole epoch; an incomplete batch stays the last.

    Args:
        order: (n,) a random order of examples.
        lengths: (n,) length of each example of `order`; neighbours of equal length stay neighbours.
        batch_size: examples of a batch, over all processes.
        rng: shuffles the batches.
    """
    window = WINDOW * batch_size
    starts = range(0, len(order), window)
    parts = [start + np.argsort(lengths[start : start + window], kind="stable") for start in starts]
    ordered = order[np.concatenate(parts)]
    whole = len(order) // batch_size * batch_size
    batches = rng.permutation(ordered[:whole].reshape(-1, batch_size))
    return np.concatenate([batches.ravel(), ordered[whole:]])


def training_order(
    size: int,
    batch_size: int,
    rng: np.random.Generator,
    *,
    lengths: NDArray[np.integer] | None = None,
    image_rows: NDArray[np.integer] | None = None,
    questions_per_image: int = 1,
) -> Order:
    """A random order of examples 0..size-1.

    Args:
        size: number of examples.
        batch_size: examples of a batch, over all processes.
        rng: decides.
        lengths: (size,) to make batches of similar lengths; None: not.
        image_rows: (size,) image of each example; needed for more than one question per image.
        questions_per_image: questions about an image that follow each other, as far as there are.
    """
    order = rng.permutation(size)
    sizes = None if lengths is None else lengths[order]
    if questions_per_image > 1:
        order, groups = group_by_image(order, image_rows, questions_per_image, rng)
        if lengths is not None:
            longest = np.zeros(groups.max(initial=0) + 1, lengths.dtype)
            np.maximum.at(longest, groups, lengths[order])
            sizes = longest[groups]
    return order if sizes is None else group_by_length(order, sizes, batch_size, rng)


def by_image(image_rows: NDArray[np.integer]) -> Order | None:
    """The order in which the questions of an image meet; None if they do so as they are."""
    if (image_rows[1:] >= image_rows[:-1]).all():
        return None
    return np.argsort(image_rows, kind="stable")


def share_of(order: Order, batch_size: int, rank: int, world_size: int) -> Order:
    """What one of several processes gets: of each batch over all of them, its own part.

    Args:
        order: (n,) of all.
        batch_size: examples of a batch of one process.
        rank: of the process.
        world_size: number of processes.
    """
    together = batch_size * world_size
    whole = len(order) // together * together
    own = order[:whole].reshape(-1, world_size, batch_size)[:, rank].ravel()
    return np.concatenate([own, np.array_split(order[whole:], world_size)[rank]])
