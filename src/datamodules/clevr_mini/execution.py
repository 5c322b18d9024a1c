"""Plain execution of CLEVR's functional programs on scene files: the meaning of every question.

Slow and literal on purpose: questions are made by another path (bit masks), and the tests hold the
two against each other and this one against the official data.
"""

from typing import Any

_ATTRIBUTES = ("size", "color", "material", "shape")


def execute(program: list[dict], scene: dict) -> str:
    """The answer of a CLEVR program on a scene: "yes"/"no", a number, or an attribute's value.

    Raises ValueError where the program is ill-posed, as `unique` of a set that is not one object.
    """
    answer = execute_nodes(program, scene)[-1]
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return str(answer)


def execute_nodes(program: list[dict], scene: dict) -> list[Any]:
    """What each node gives: the number of an object, a sorted list of them, a value or an answer.

    Nodes have `function` (or `type`), `inputs` (numbers of earlier nodes) and `value_inputs`.
    Raises ValueError as `execute` does.
    """
    results: list[Any] = []
    for node in program:
        function = node["function"] if "function" in node else node["type"]
        inputs = [results[i] for i in node["inputs"]]
        results.append(_apply(function, inputs, node["value_inputs"], scene))
    return results


def _apply(function: str, inputs: list, values: list[str], scene: dict) -> Any:
    """One function: sets of objects are sorted lists of their numbers, an object is its number."""
    name, _, attribute = function.partition("_")
    objects = scene["objects"]
    if attribute in _ATTRIBUTES:
        if name == "filter":
            return [i for i in inputs[0] if objects[i][attribute] == values[0]]
        if name == "query":
            return objects[inputs[0]][attribute]
        if name == "same":
            return _sharing(objects, inputs[0], attribute)
        if name == "equal":
            return inputs[0] == inputs[1]
    if function == "scene":
        return list(range(len(objects)))
    if function == "unique":
        return _unique(inputs[0])
    if function == "relate":
        return sorted(scene["relationships"][values[0]][inputs[0]])
    if function in _SIMPLE:
        return _SIMPLE[function](*inputs)
    raise ValueError(f"unknown program function {function!r}")


def _unique(things: list[int]) -> int:
    if len(things) != 1:
        raise ValueError(f"unique of {len(things)} objects")
    return things[0]


def _sharing(objects: list[dict], thing: int, attribute: str) -> list[int]:
    value = objects[thing][attribute]
    return [i for i, other in enumerate(objects) if i != thing and other[attribute] == value]


_SIMPLE = {
    "count": len,
    "exist": lambda things: len(things) > 0,
    "intersect": lambda a, b: sorted(set(a) & set(b)),
    "union": lambda a, b: sorted(set(a) | set(b)),
    "equal_integer": lambda a, b: a == b,
    "less_than": lambda a, b: a < b,
    "greater_than": lambda a, b: a > b,
}
