"""A scene as bit masks: object i is bit i, a set of objects is an int.

Answering a question about at most a handful of objects is then a few integer operations, which is
what makes tens of thousands of questions in seconds possible.
"""

from dact.datamodules.clevr_mini.attributes import ATTRIBUTES, RELATIONS, VALUES, WITHOUT


class SceneMasks:
    """Masks of one scene.

    `full`: all objects. `holders[k][v]`: objects whose attribute k has value v.
    `described[d]`: objects that fit description d. `related[r][i]`: objects that stand in relation
    r (numbered as `RELATIONS`) to object i. `same[k][i]`: the others that share attribute k with i.
    `pairs`: all (r, i).
    """

    def __init__(self, scene: dict) -> None:
        objects = scene["objects"]
        self.size = len(objects)
        self.full = (1 << self.size) - 1
        self.holders = [
            {
                value: sum(1 << i for i, thing in enumerate(objects) if thing[attribute] == value)
                for value in VALUES[attribute]
            }
            for attribute in ATTRIBUTES
        ]
        sizes, colors, materials, shapes = (
            [self.full, *holders.values()] for holders in self.holders
        )
        # In the order of attributes.DESCRIPTIONS: the last attribute changes fastest.
        outer = [a & b for a in sizes for b in colors]
        inner = [a & b for a in materials for b in shapes]
        self.described = [a & b for a in outer for b in inner]
        self.related = [
            [sum(1 << j for j in others) for others in scene["relationships"][relation]]
            for relation in RELATIONS
        ]
        self.same = [
            [holders[thing[attribute]] & ~(1 << i) for i, thing in enumerate(objects)]
            for attribute, holders in zip(ATTRIBUTES, self.holders, strict=True)
        ]
        self.pairs = [(r, i) for r in range(len(RELATIONS)) for i in range(self.size)]
        self._groups: dict[int, list[tuple[int, list[int]]]] = {}

    def groups(self, avoid: int = 0) -> list[tuple[int, list[int]]]:
        """Each non-empty set that can be described, with its descriptions.

        `avoid` has bit k set when attribute k may not be named.
        """
        found = self._groups.get(avoid)
        if found is None:
            described = self.described
            by_mask: dict[int, list[int]] = {}
            for d in WITHOUT[avoid]:
                mask = described[d]
                if mask:
                    by_mask.setdefault(mask, []).append(d)
            found = self._groups[avoid] = list(by_mask.items())
        return found
