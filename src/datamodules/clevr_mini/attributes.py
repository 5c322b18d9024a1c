"""The closed world of CLEVR: attributes, their values, and every description made of them.

A *description* is one choice per attribute of a value or of nothing, such as "red" or "small metal
cube". There are 3·9·3·4 = 324, numbered by `description_number`; number 0 says nothing ("thing").
Values and sizes are those of CLEVR (Johnson et al. 2017, section 3 and its supplement).
"""

from itertools import product

ATTRIBUTES = ("size", "color", "material", "shape")
VALUES = {
    "size": ("small", "large"),
    "color": ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow"),
    "material": ("rubber", "metal"),
    "shape": ("cube", "sphere", "cylinder"),
}
# Radius in scene units; of a cube, half its side.
RADIUS = {"small": 0.35, "large": 0.7}
RELATIONS = ("left", "right", "behind", "front")

# DESCRIPTIONS[d][k] is the value of attribute k that description d names, or None.
DESCRIPTIONS: tuple[tuple[str | None, ...], ...] = tuple(
    product(*((None, *VALUES[attribute]) for attribute in ATTRIBUTES))
)
# MENTIONS[d] has bit k set when description d names a value of attribute k.
MENTIONS = tuple(
    sum(1 << k for k, value in enumerate(values) if value is not None) for values in DESCRIPTIONS
)
LENGTHS = tuple(bits.bit_count() for bits in MENTIONS)
# WITHOUT[avoid] lists the descriptions that name no attribute whose bit is set in `avoid`.
WITHOUT = tuple(
    tuple(d for d, bits in enumerate(MENTIONS) if not bits & avoid)
    for avoid in range(1 << len(ATTRIBUTES))
)
# NAMING[bits] lists the descriptions that name exactly the attributes in `bits`.
NAMING = tuple(
    tuple(d for d, named in enumerate(MENTIONS) if named == bits)
    for bits in range(1 << len(ATTRIBUTES))
)


def includes(general: int, special: int) -> bool:
    """Whether everything that fits description `special` must also fit `general`."""
    pairs = zip(DESCRIPTIONS[general], DESCRIPTIONS[special], strict=True)
    return all(wide is None or wide == narrow for wide, narrow in pairs)
