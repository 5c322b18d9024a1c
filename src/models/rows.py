"""Some examples of a batch, picked out of everything that belongs to it."""

import copy
from collections import UserDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from numbers import Number
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

#: What holds nothing of an example.
_PLAIN = (type(None), Number, str, bytes, Enum, slice, range, torch.dtype, torch.device)


@dataclass(frozen=True)
class Shared:
    """Marks what all examples of a batch share, such as a table that each of them looks things up
    in: no rows are taken of it, whatever its length.

    Args:
        value: a tensor, or anything else; the model reads it as `.value`.
    """

    value: Any


def take_rows(tree: Any, rows: Tensor) -> Any:
    """The examples `rows` of a tensor, or of a tree of containers that hold tensors.

    Containers are tuples, named tuples, lists, dictionaries (`UserDict` too) and dataclasses; each
    comes back as its own type.

    Args:
        tree: tensors have the examples first. Scalar tensors, `Shared` and whatever is neither
            tensor nor container belong to all examples.
        rows: (R,) int64 positions.

    >>> take_rows({"x": torch.tensor([3, 5, 7]), "name": "a"}, torch.tensor([2, 0]))
    {'x': tensor([7, 3]), 'name': 'a'}
    """
    if isinstance(tree, Tensor):
        return tree.index_select(0, rows) if tree.dim() else tree
    parts = _parts(tree)
    if not parts:
        return tree
    return _with_parts(tree, [take_rows(part, rows) for _, part in parts])


def surely_examples_first(tree: Any, count: int) -> bool:
    """Whether the examples of a tree can be told without anybody saying which tensors have them.

    That is so if it holds at most one tensor, whose first axis is as long as the batch and whose
    second is not. Where there are more, any may be a table that all examples share.

    Args:
        tree: see `take_rows`.
        count: B.

    >>> surely_examples_first(torch.zeros(4, 3), 4), surely_examples_first(torch.zeros(4, 4), 4)
    (True, False)
    """
    leaves = [leaf for _, leaf in _leaves(tree, "")]
    return not leaves or (
        len(leaves) == 1
        and _is_cuttable(leaves[0])
        and len(leaves[0]) == count
        and leaves[0].shape[1:2] != (count,)
    )


def check_examples_first(tree: Any, count: int, name: str) -> None:
    """Refuse a tree of which not every tensor has the examples first.

    Args:
        tree: see `take_rows`.
        count: B.
        name: of the tree, for the message.

    Raises:
        ValueError: a tensor of another length, or something that may hold tensors; the message
            names it.
    """
    for leaf_name, leaf in _leaves(tree, name):
        if not _is_cuttable(leaf):
            raise ValueError(
                f"{leaf_name} is a {type(leaf).__name__}, of which no examples can be taken: "
                "use tensors in tuples, lists, dictionaries or dataclasses, or mark what all "
                "examples share with Shared(...)"
            )
        if len(leaf) != count:
            raise ValueError(
                f"{leaf_name} has shape {tuple(leaf.shape)}, but the batch has {count} examples: "
                "put the examples first, or mark what they share with Shared(...)"
            )


def join_rows(parts: Sequence[tuple[Tensor, Any]]) -> Any:
    """Put the parts of a named tuple of tensors back together.

    Args:
        parts: (R,) int64 positions and the values of these examples; together every position
            0..B-1 once.

    >>> first, second = torch.tensor([1]), torch.tensor([0])
    >>> join_rows([(first, (torch.tensor([5]),)), (second, (torch.tensor([3]),))])
    (tensor([3, 5]),)
    """
    order = torch.cat([rows for rows, _ in parts])
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    columns = zip(*(values for _, values in parts), strict=True)
    joined = [torch.cat(column).index_select(0, back) for column in columns]
    kind = type(parts[0][1])
    return kind(*joined) if hasattr(kind, "_fields") else kind(joined)


def _is_cuttable(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.layout == torch.strided and not leaf.is_nested


def _leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """What may hold examples, with its name: tensors, and objects that cannot be looked into."""
    if isinstance(tree, (Shared, *_PLAIN)) or (isinstance(tree, Tensor) and not tree.dim()):
        return
    parts = None if isinstance(tree, Tensor) else _parts(tree)
    if parts is None:
        yield name, tree
        return
    for label, part in parts:
        yield from _leaves(part, name + label)


def _parts(tree: Any) -> list[tuple[str, Any]] | None:
    """What a container holds, with how to write it in Python; None for anything else."""
    own = getattr(tree, "__dict__", {}).keys()  # more than a container's parts cannot be copied
    if isinstance(tree, Shared | PackedSequence | type):
        return None
    if is_dataclass(tree):
        if isinstance(tree, dict | UserDict | tuple | list):  # holds its parts twice
            return None
        names = [field.name for field in fields(tree)]
        return [(f".{name}", getattr(tree, name)) for name in names] if own <= {*names} else None
    if own - ({"data"} if isinstance(tree, UserDict) else set()):
        return None
    if isinstance(tree, dict | UserDict):
        return [(f"[{key!r}]", part) for key, part in tree.items()]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return [(f".{name}", part) for name, part in zip(tree._fields, tree, strict=True)]
    if isinstance(tree, tuple | list):
        return [(f"[{index}]", part) for index, part in enumerate(tree)]
    return None


def _with_parts(tree: Any, parts: Sequence[Any]) -> Any:
    """A container of the same type with other parts."""
    if hasattr(tree, "_fields"):
        return type(tree)(*parts)
    if isinstance(tree, tuple | list):
        return type(tree)(parts)
    new = copy.copy(tree)
    if is_dataclass(tree):
        for field, part in zip(fields(tree), parts, strict=True):
            object.__setattr__(new, field.name, part)  # a frozen one too
    else:
        for key, part in zip(tree, parts, strict=True):
            new[key] = part
    return new
