"""From descriptions to English, with a note of which words mean which object.

A phrase that means an object carries marks around it while sentences are put together; `unmark`
takes them off again and says where they were. The sentences are our own.
"""

from collections.abc import Iterable

from dact.datamodules.gqa_mini.view import ANY, Description, View
from dact.datamodules.gqa_mini.world import KINDS, SHARED

_PLURALS = {"bus": "buses", "scarf": "scarves", "shelf": "shelves"}
# Categories whose name is not counted, as heads of a phrase.
_PIECES = {
    "furniture": ("piece of furniture", "pieces of furniture"),
    "clothing": ("piece of clothing", "pieces of clothing"),
}
_OPEN, _MIDDLE, _CLOSE = "\x02", "\x03", "\x04"


def mark(words: str, key: str | None) -> str:
    """The words, marked as meaning the object `key`."""
    return words if key is None else f"{_OPEN}{key}{_MIDDLE}{words}{_CLOSE}"


def unmark(sentence: str) -> tuple[str, dict[str, str]]:
    """The sentence and its annotations: place of a token ("4") or tokens ("4:6") → object id.

    >>> unmark("What color is the " + mark("small dog", "21") + "?")
    ('What color is the small dog?', {'4:6': '21'})
    """
    places: dict[str, str] = {}
    head, *marked = sentence.split(_OPEN)
    text = head
    for piece in marked:
        key, _, rest = piece.partition(_MIDDLE)
        words, _, tail = rest.partition(_CLOSE)
        first, length = len(text.split()), len(words.split())
        places[str(first) if length == 1 else f"{first}:{first + length}"] = key
        text += words + tail
    return text, places


def sentence(text: str) -> str:
    """With a capital first letter, before or after a mark."""
    for i, letter in enumerate(text):
        if letter.isalpha():
            return text[:i] + letter.upper() + text[i + 1 :]
    return text


def article(words: str) -> str:
    """The words after "a" or "an"; none of ours has a silent first letter."""
    bare = words.partition(_MIDDLE)[2] if words.startswith(_OPEN) else words
    return f"{'an' if bare[0] in 'aeiou' else 'a'} {words}"


def adjectives(filters: Iterable[tuple[str, str]]) -> str:
    """Values in the order in which English has them."""
    values = dict(filters)
    return " ".join(values[kind] for kind in KINDS if kind in values)


def _noun(noun: str, plural: bool) -> str:
    if noun == ANY:
        return "things" if plural else "thing"
    if noun in _PIECES:
        return _PIECES[noun][plural]
    return _PLURALS.get(noun, f"{noun}s") if plural else noun


def phrase(view: View, description: Description, plural: bool = False) -> str:
    """The description without an article; marked where one thing fits it."""
    found = view.keys(description)
    words = f"{adjectives(description.filters)} {_noun(description.noun, plural)}".strip()
    words = mark(words, found[0] if len(found) == 1 else None)
    if description.relation is None:
        return words
    link = "" if description.relation not in SHARED else "that are " if plural else "that is "
    return f"{words} {link}{place(view, description)}"


def the(view: View, description: Description) -> str:
    """The definite phrase."""
    return f"the {phrase(view, description)}"


def place(view: View, description: Description) -> str:
    """Where the described things are, as it follows "is"."""
    return f"{said(description.relation)} {the(view, description.anchor)}"


def said(relation: str) -> str:
    """A relation as it follows "is"."""
    return SHARED.get(relation, relation)


def looks(kind: str, value: str) -> str:
    """A value as it follows "is"."""
    return f"made of {value}" if kind == "material" else value
