"""Some examples of a batch, picked out of everything that belongs to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def take_rows(tree: Any, rows: Tensor) -> Any:
    """The examples `rows` of a tensor, or of a tree of named tuples, tuples, lists and mappings.

    Args:
        tree: tensors have the examples first; what is no tensor is shared by all examples.
        rows: (R,) int64 positions.

    >>> take_rows({"x": torch.tensor([3, 5, 7]), "name": "a"}, torch.tensor([2, 0]))
    {'x': tensor([7, 3]), 'name': 'a'}
    """
    if isinstance(tree, Tensor):
        return tree.index_select(0, rows)
    if isinstance(tree, Mapping):
        return {name: take_rows(part, rows) for name, part in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [take_rows(part, rows) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


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
