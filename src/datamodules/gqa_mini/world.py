"""The closed world of `gqa_mini`: things by category, what they can look like, where they can be.

A name allows only some values of an attribute, as dogs come in few colours; a name without
materials is never asked for one. Wall and sky fill the back of a picture and are not asked about,
but they show whether it was taken indoors, and the weather.
"""

CATEGORIES = {
    "animal": ("dog", "cat", "horse", "bird"),
    "vehicle": ("car", "bus", "truck", "bike"),
    "furniture": ("chair", "table", "sofa", "shelf"),
    "fruit": ("apple", "banana", "pear", "lemon"),
    "clothing": ("hat", "shirt", "jacket", "scarf"),
}
CATEGORY = {name: category for category, names in CATEGORIES.items() for name in names}
NAMES = tuple(CATEGORY)

# In the order in which adjectives stand before a noun.
VALUES = {
    "size": ("small", "large"),
    "color": ("black", "white", "brown", "gray", "red", "green", "blue", "yellow"),
    "material": ("wood", "metal", "plastic", "leather", "cotton", "wool"),
}
KINDS = tuple(VALUES)
KIND = {value: kind for kind, values in VALUES.items() for value in values}

_COLORS = {
    "dog": "black white brown gray",
    "cat": "black white brown gray",
    "horse": "black white brown gray",
    "bird": "black white red blue yellow",
    "car": "black white gray red blue",
    "bus": "white red blue yellow",
    "truck": "white gray red green",
    "bike": "black red green blue",
    "chair": "black white brown red",
    "table": "black white brown green",
    "sofa": "brown gray red blue",
    "shelf": "black white brown gray",
    "apple": "red green yellow",
    "banana": "brown green yellow",
    "pear": "brown green yellow",
    "lemon": "green yellow",
    "hat": "black brown red blue",
    "shirt": "white gray red blue",
    "jacket": "black brown green blue",
    "scarf": "gray red green yellow",
}
_MATERIALS = {
    "chair": "wood metal plastic",
    "table": "wood metal plastic",
    "sofa": "leather cotton",
    "shelf": "wood metal plastic",
    "hat": "leather cotton wool",
    "shirt": "cotton wool",
    "jacket": "leather cotton wool",
    "scarf": "cotton wool",
}
# POSSIBLE[name][kind]: the values that things of this name take; empty where the kind is not asked.
POSSIBLE = {
    name: {
        "size": VALUES["size"],
        "color": tuple(_COLORS[name].split()),
        "material": tuple(_MATERIALS.get(name, "").split()),
    }
    for name in NAMES
}

# Relation → the one that holds the other way round.
INVERSE = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
    "near": "near",
}
RELATIONS = tuple(INVERSE)
# Relation → how it reads: two things have the same value. It is its own inverse.
SHARED = {"same color": "the same color as"}
INVERSE.update({name: name for name in SHARED})
# Which of two relations: the answers, as GQA shortens them.
SIDES = {
    ("to the left of", "to the right of"): ("left", "right"),
    ("above", "below"): ("above", "below"),
}

BACKDROPS = {"indoors": "wall", "outdoors": "sky"}
LOCATIONS = tuple(BACKDROPS)
WEATHERS = ("sunny", "cloudy", "rainy")
