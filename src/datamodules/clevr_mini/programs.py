"""Functional programs in CLEVR's format, put together from referents and descriptions.

A program is a list of nodes {"inputs", "function", "value_inputs"}; each `add_…` appends nodes and
returns the number of the last one.
"""

from dact.datamodules.clevr_mini.attributes import ATTRIBUTES, DESCRIPTIONS, RELATIONS
from dact.datamodules.clevr_mini.referents import Referent, Where

Program = list[dict]
_FILTERS = tuple(f"filter_{attribute}" for attribute in ATTRIBUTES)


def add(program: Program, function: str, *inputs: int, value: str | None = None) -> int:
    """One node."""
    program.append(
        {
            "inputs": list(inputs),
            "function": function,
            "value_inputs": [] if value is None else [value],
        }
    )
    return len(program) - 1


def add_filters(program: Program, source: int, description: int) -> int:
    """The objects of node `source` that fit `description`."""
    for function, value in zip(_FILTERS, DESCRIPTIONS[description], strict=True):
        if value is not None:
            source = add(program, function, source, value=value)
    return source


def add_described(program: Program, description: int) -> int:
    """The objects of the whole scene that fit `description`."""
    return add_filters(program, add(program, "scene"), description)


def add_referent(program: Program, referent: Referent) -> int:
    """The one object meant by `referent`."""
    if referent.anchor is None:
        source = add(program, "scene")
    else:
        source = _add_relate(program, referent.anchor, referent.relation)
    return add(program, "unique", add_filters(program, source, referent.description))


def add_where(program: Program, where: Where | None) -> int:
    """The objects that satisfy `where`, or the scene when there is no restriction."""
    if where is None:
        return add(program, "scene")
    if where.function == "relate":
        return _add_relate(program, where.anchors[0], where.relations[0])
    if where.function == "intersect":
        sides = [
            _add_relate(program, anchor, relation)
            for anchor, relation in zip(where.anchors, where.relations, strict=True)
        ]
        return add(program, "intersect", *sides)
    return add(program, where.function, add_referent(program, where.anchors[0]))


def _add_relate(program: Program, anchor: Referent, relation: int) -> int:
    return add(program, "relate", add_referent(program, anchor), value=RELATIONS[relation])
