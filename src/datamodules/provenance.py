"""What made the features of images, and whether two sets of them can be used together.

It is a dictionary: `name`, `layer`, `fingerprint` of the weights and the other options of a
backbone, and `grid_size`, as far as each is known. What is not known cannot differ.
"""

import json
from collections.abc import Mapping
from typing import Any

from dact.errors import UserError

Provenance = Mapping[str, Any]

#: Where weights lie and what a network is called; the fingerprint says whether they are the same.
_ONLY_NAMES = {"name", "model", "weights"}


def read_backbone(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The attribute `backbone` of a feature file; text that is no JSON object is a name."""
    known = attributes.get("backbone")
    if known is None:
        return None
    text = known.decode(errors="replace") if isinstance(known, bytes) else str(known)
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"name": str(value)}


def differences(one: Provenance, other: Provenance) -> list[str]:
    """What two sets of features were made with differently."""
    both = one.keys() & other.keys()
    if "fingerprint" in both:  # of ours, which leave out this option where it is null
        one, other = ({"white": None, **made_by} for made_by in (one, other))
        both |= {"white"}
    names = sorted(name for name in both - _ONLY_NAMES if one[name] != other[name])
    if "fingerprint" not in both and "name" in both and one["name"] != other["name"]:
        names.append("name")
    return names


def check_same(one: Provenance, other: Provenance, first: str, second: str, advice: str) -> None:
    """Refuse features that a network cannot use together.

    Args:
        one: what made the first.
        other: what made the second.
        first: what the first are, for the message.
        second: what the second are.
        advice: what to do.

    Raises:
        UserError: they were made differently.
    """
    if differing := differences(one, other):
        raise UserError(
            f"{first} were made by {describe(one, differing)}, but {second} by "
            f"{describe(other, differing)}: {advice}"
        )


def check_alike(made_by: Mapping[str, Provenance]) -> None:
    """Refuse splits, by name, whose features were made differently.

    Raises:
        UserError: naming two of them.
    """
    (first, one), *others = made_by.items()
    for split, other in others:
        advice = "make the features of all splits with the same command"
        check_same(one, other, f"the features of {first}", f"those of {split}", advice)


def describe(made_by: Provenance, details: list[str] | None = None) -> str:
    """A backbone in words: its name, layer and weights, and further `details`."""
    words = [str(made_by.get("name", "an unnamed backbone"))]
    names = dict.fromkeys(["layer", "fingerprint", *(details or [])])
    words += [
        f"{name.replace('_', ' ')} {made_by[name]}"
        for name in names
        if name in made_by and name != "name"
    ]
    if has_random_weights(made_by):
        words.append("random weights")
    return f"{words[0]} ({', '.join(words[1:])})" if len(words) > 1 else words[0]


def has_random_weights(made_by: Provenance) -> bool:
    """Whether features are those of a network of torchvision's that nobody trained."""
    model = made_by.get("model")
    return isinstance(model, str) and ":" not in model and made_by.get("weights", "") is None
