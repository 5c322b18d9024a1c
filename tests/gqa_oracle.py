"""Slow execution of GQA's programs on scene graphs, written from the graph's own fields alone."""

import re

CATEGORIES = {
    "animal": {"dog", "cat", "horse", "bird"},
    "vehicle": {"car", "bus", "truck", "bike"},
    "furniture": {"chair", "table", "sofa", "shelf"},
    "fruit": {"apple", "banana", "pear", "lemon"},
    "clothing": {"hat", "shirt", "jacket", "scarf"},
}
KINDS = {
    "size": {"small", "large"},
    "color": {"black", "white", "brown", "gray", "red", "green", "blue", "yellow"},
    "material": {"wood", "metal", "plastic", "leather", "cotton", "wool"},
}
SIDES = {"to the left of": "left", "to the right of": "right"}


class IllPosedError(ValueError):
    """A question that has no answer in this scene."""


def must(holds):
    if not holds:
        raise IllPosedError


def is_a(thing, noun):
    return noun in ("_", thing["name"]) or thing["name"] in CATEGORIES.get(noun, ())


def value(thing, kind):
    """The one value of a kind."""
    (found,) = set(thing["attributes"]) & KINDS[kind] or [None]
    must(found is not None)
    return found


def only(things):
    must(len(things) == 1)
    return things[0]


def related(scene, noun, relation, role, others):
    """Things by that noun which are in the relation with the one of `others`."""
    other = only(others)
    graph = scene["objects"]
    if relation.startswith("same "):
        kind = relation.removeprefix("same ")
        looks = value(graph[other], kind)
        fitting = [k for k in graph if k != other and looks in graph[k]["attributes"]]
        return [k for k in fitting if is_a(graph[k], noun)]
    if role == "s":
        pairs = [(k, link) for k, thing in graph.items() for link in thing["relations"]]
        found = [k for k, link in pairs if (link["name"], link["object"]) == (relation, other)]
    else:
        links = graph[other]["relations"]
        found = [link["object"] for link in links if link["name"] == relation]
    return [k for k in graph if k in found and is_a(graph[k], noun)]


def execute(program, scene, check_ids=True):
    """The answer; IllPosedError if a definite phrase does not mean one thing.

    `check_ids`: the object ids in the program must be what each step finds.
    """
    results = []
    for step in program:
        argument, _, ids = step["argument"].partition(" (")
        inputs = [results[i] for i in step["dependencies"]]
        result = apply(step["operation"], argument, inputs, scene)
        if ids and check_ids and isinstance(result, list):
            assert ids == (",".join(result) or "-") + ")", (step, result)
        results.append(result)
    answer = results[-1]
    return ("yes" if answer else "no") if isinstance(answer, bool) else answer


def apply(operation, argument, inputs, scene):
    graph = scene["objects"]
    verb, _, kind = operation.partition(" ")
    if operation == "select":
        return "scene" if argument == "scene" else [k for k in graph if is_a(graph[k], argument)]
    if operation == "relate":
        return related(scene, *re.split(",", argument), inputs[0])
    if verb == "filter":
        return [k for k in inputs[0] if argument in graph[k]["attributes"]]
    if operation == "exist":
        return bool(inputs[0])
    if operation in ("and", "or"):
        return all(inputs) if operation == "and" else any(inputs)
    if inputs[0] == "scene":
        return about_scene(verb, kind or argument, argument, scene)
    things = [graph[only(found)] for found in inputs]
    if verb in ("same", "different"):
        return (value(things[0], kind) == value(things[1], kind)) == (verb == "same")
    if verb == "common":
        shared = [k for k in ("color", "material") if value(things[0], k) == value(things[1], k)]
        return only(shared)
    if kind == "rel":
        return placed(verb, argument, inputs[0], scene)
    return about_thing(verb, kind or argument, argument, things[0])


def about_scene(verb, kind, argument, scene):
    must(kind in scene)
    if verb == "verify":
        return scene[kind] == argument
    return chosen(verb, argument, scene[kind])


def about_thing(verb, kind, argument, thing):
    found = thing["name"] if kind == "name" else value(thing, kind)
    return found == argument if verb == "verify" else chosen(verb, argument, found)


def chosen(verb, argument, found):
    if verb == "choose":
        must(found in argument.split("|"))
    return found


def placed(verb, argument, found, scene):
    noun, relations, role = argument.split(",")
    assert role == "o"
    graph = scene["objects"]
    other = only([k for k in graph if is_a(graph[k], noun)])
    links = graph[only(found)]["relations"]
    true = {link["name"] for link in links if link["object"] == other}
    if verb == "verify":
        return relations in true
    relation = only([r for r in relations.split("|") if r in true])
    return SIDES.get(relation, relation)
