"""How many reads a question needs, one after another, by its functional program.

A *read* finds one set of objects, knowing what was read before: the objects of the scene that
pass filters, that stand in relations to objects found before, or that share attributes with them.
So the nodes `unique`, `count` and `exist` are reads; filters, unions and intersections only say
what to look for; `query_*` belongs to the read of its object. The reads needed are the longest
chain of reads of which each needs what the one before it found. Both sides of a comparison and both
anchors of an intersection can be read at once: one step of attention on two objects tells whether
they share an attribute, since the mean of their rows is then that of one.

**Theorem.** In `relate(d, anchor) → filter… → unique` the anchor need not be found: the object that
is found is the one furthest along direction d of all objects in the scene that pass the filters.

*Proof.* CLEVR's relation "x is d of a" holds when x lies further along d than a by more than a
margin ≥ 0. Let u be the object found and v another one that passes the filters. If v lay at least
as far along d as u does, it would lie further than the anchor by more than the margin, as u does;
so it would stand in the relation too, and `unique` would have had two objects. Hence v lies less
far. (The anchor itself lies less far than u, so it makes no difference whether it passes.)  ∎

So such a `unique` depends on nothing before it, and a chain of any number of relations that ends in
`unique` needs one read. It does not hold before `count` or `exist`, which need the anchor's place,
nor through `same_*`, which needs the anchor's attribute, nor where an `intersect` or `union` stands
between `relate` and `unique`.

**Named attributes.** In `filter_a[v] … → unique → same_a` with the filters on the whole scene, the
anchor need not be found either: its a is v, and what shares it are the objects with a = v that do
not pass the filters, since the anchor alone does. `query_a` of such a `unique` gives v, and
`equal_a` knows one side. CLEVR's own questions avoid it: they do not name what they ask or compare.

>>> program = [
...     {"function": "scene", "inputs": []},
...     {"function": "filter_color", "inputs": [0], "value_inputs": ["red"]},
...     {"function": "unique", "inputs": [1]},
...     {"function": "same_shape", "inputs": [2]},
...     {"function": "count", "inputs": [3]},
... ]
>>> reads_needed(program)
2
"""

from collections.abc import Mapping, Sequence
from typing import Any

_ATTRIBUTES = ("size", "color", "material", "shape")
_READS = {"unique", "count", "exist"}
#: Functions and the number of their inputs.
_INPUTS = {
    "scene": 0,
    **dict.fromkeys(("unique", "count", "exist", "relate"), 1),
    **dict.fromkeys(("union", "intersect", "equal_integer", "less_than", "greater_than"), 2),
    **{f"{kind}_{name}": 1 for kind in ("filter", "query", "same") for name in _ATTRIBUTES},
    **{f"equal_{name}": 2 for name in _ATTRIBUTES},
}


def reads_needed(program: Sequence[Any]) -> int:
    """Longest chain of reads that the answer depends on, or -1 where that is not known.

    Args:
        program: nodes of CLEVR's format with `function` (or `type`) and `inputs`, numbers of
            earlier nodes; the last node gives the answer.

    Returns:
        At least 0; -1 for a program that is empty, ill-formed, without a read, or has functions
        that CLEVR has not.
    """
    if not _is_known(program) or not any(function_of(node) in _READS for node in program):
        return -1
    cut = anchors_not_needed(program)
    chains: list[int] = []
    for number, node in enumerate(program):
        needed = [] if number in cut else node["inputs"]
        before = [chains[n] for n in needed if not _is_named(program, number, n)]
        chains.append((function_of(node) in _READS) + max(before, default=0))
    return chains[-1]


def anchors_not_needed(program: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """The `unique` nodes that the theorem cuts from their anchor, each with its `relate` node.

    Args:
        program: well-formed, as of `reads_needed`.
    """
    cut = {}
    for number, node in enumerate(program):
        if function_of(node) == "unique":
            (source,) = node["inputs"]
            while function_of(program[source]).startswith("filter_"):
                (source,) = program[source]["inputs"]
            if function_of(program[source]) == "relate":
                cut[number] = source
    return cut


def _is_named(program: Sequence[Mapping[str, Any]], number: int, source: int) -> bool:
    """Whether node `number` asks of the object of node `source` what the question itself says."""
    kind, _, attribute = function_of(program[number]).partition("_")
    if kind not in ("query", "same") or function_of(program[source]) != "unique":
        return False
    filters = set()
    (source,) = program[source]["inputs"]
    while function_of(program[source]).startswith("filter_"):
        filters.add(function_of(program[source]).removeprefix("filter_"))
        (source,) = program[source]["inputs"]
    return attribute in filters and function_of(program[source]) == "scene"


def function_of(node: Mapping[str, Any]) -> str:
    """Name of a node's function, which some generators call its type."""
    return str(node.get("function") or node.get("type"))


def _is_known(program: Sequence[Any]) -> bool:
    """Whether every node has a function of CLEVR's, and earlier nodes for its inputs."""
    for number, node in enumerate(program):
        inputs = node.get("inputs") if isinstance(node, Mapping) else None
        if not isinstance(inputs, list) or len(inputs) != _INPUTS.get(function_of(node)):
            return False
        if not all(isinstance(source, int) and 0 <= source < number for source in inputs):
            return False
    return len(program) > 0
