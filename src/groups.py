"""What a config group takes: names of its files; the group `ponder` takes any cost besides.

Hydra 1.3 reads `ponder=5e-3` as a number and refuses numbers as group choices.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    QuotedString,
    RangeSweep,
)
from hydra.errors import HydraException

from dact.errors import UserError

#: What Hydra takes for something else than text, besides numbers.
_NO_TEXT = ("null", "true", "false", "nan", "inf")


def read(argument: str) -> Override | None:
    """An argument as Hydra reads it; None if it cannot."""
    try:
        (override,) = OverridesParser.create().parse_overrides([argument])
    except (HydraException, ValueError):
        return None
    return override


def choices(group: str, folders: Iterable[Path]) -> list[str]:
    """Names that a group takes, in order.

    Args:
        group: for instance `model`.
        folders: where configurations are.
    """
    found = {
        path.relative_to(folder / group).with_suffix("").as_posix()
        for folder in folders
        if re.fullmatch(r"\w[\w/]*", group)
        for path in (folder / group).rglob("*.yaml")
    }
    return sorted(found)


def number(text: str) -> float | None:
    """The number that a text is, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def cost_name(cost: float) -> str:
    """A ponder cost as short as it can be written: 0, 5e-3, 1.5e-3, 2e+1, nan.

    >>> [cost_name(value) for value in (0.0, 0.005, 0.0015, 20.0, 1.0)]
    ['0', '5e-3', '1.5e-3', '2e+1', '1']
    """
    if cost == 0 or cost != cost or abs(cost) == float("inf"):
        return f"{abs(cost):g}" if cost == 0 else f"{cost:g}"
    # The shortest digits that give this very number.
    mantissa, exponent = f"{Decimal(repr(cost)):e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = int(exponent)
    return mantissa if power == 0 else f"{mantissa}e{power:+d}"


def rewrite_choice(argument: str, known: Collection[str]) -> str:
    """Rewrite one `group=…` argument so that Hydra takes its values for names.

    Of `ponder`, numbers that have a file become its quoted name. As soon as one number of a list
    has no file, the whole list overrides the cost itself. Names pass, and so does what Hydra
    cannot read.

    Args:
        argument: for instance `ponder=5e-3`, `ponder=choice(1e-3,3e-3)` or `logger=null`.
        known: names that the group takes.

    Raises:
        UserError: a value is none of them.

    >>> rewrite_choice("ponder=0.005", ["5e-3"]), rewrite_choice("ponder=5e-3,3e-3", ["5e-3"])
    ("ponder='5e-3'", 'ponder.cost=5e-3,3e-3')
    >>> rewrite_choice("logger=null", ["csv", "none"]), rewrite_choice("data=glob(g*)", ["gqa"])
    ('logger=none', 'data=gqa')
    """
    override = read(argument)
    option, _, text = argument.partition("=")
    if override is None or not text.strip():
        return argument
    if isinstance(override.value(), IntervalSweep):
        return f"ponder.cost={text}" if option == "ponder" else argument
    values, form = _values(override, known)
    if option == "ponder" and form != "[{}]" and (costs := _costs(values, known)):
        return "ponder.cost=" + form.format(",".join(map(cost_name, costs)))
    names = all(isinstance(value, str) and number(value) is None for value in values)
    if names and not isinstance(override.value(), Glob):
        return argument
    found = [_name(value, override.key_or_group, argument, known) for value in values]
    return f"{option}={form.format(','.join(map(_quoted, found)))}"


def _values(override: Override, known: Collection[str]) -> tuple[list[Any], str]:
    """The values of an override, and the form in which they are written."""
    value, form = override.value(), "{}"
    if isinstance(value, Glob):
        found: Sequence[Any] = value.filter(sorted(known))
        if not found:
            raise _refused(override.input_line, override.key_or_group, known)
    elif isinstance(value, ChoiceSweep | RangeSweep):
        found = list(value.list if isinstance(value, ChoiceSweep) else value.range())
        form = "shuffle({})" if value.shuffle else "{}"
    elif isinstance(value, list):
        found, form = value, "[{}]"
    else:
        found = [value]
    return [one.text if isinstance(one, QuotedString) else one for one in found], form


def _cost(value: Any) -> float | None:
    if isinstance(value, str):
        return number(value)
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _costs(values: Sequence[Any], known: Collection[str]) -> list[float]:
    """The costs that these values are, if all are numbers and not all have a file."""
    costs = [cost for cost in map(_cost, values) if cost is not None]
    in_files = {number(name) for name in known}
    return costs if len(costs) == len(values) and not in_files.issuperset(costs) else []


def _name(value: Any, group: str, argument: str, known: Collection[str]) -> str:
    """The name of a file that a value means."""
    cost = _cost(value)
    if isinstance(value, str) and (cost is None or value in known or group != "ponder"):
        return value  # Hydra says so if there is no such file
    wanted = "none" if value is None else str(value).lower()
    for name in known:
        if name.lower() == wanted or (cost is not None and number(name) == cost):
            return name
    if isinstance(value, str):
        return value
    raise _refused(argument, group, known)


def _refused(argument: str, group: str, known: Collection[str]) -> UserError:
    cost = ", or a number" if group == "ponder" else ""
    return UserError(f"{argument} is not possible: {group} is one of {', '.join(known)}{cost}")


def _quoted(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][\w/.+-]*", name) and name.lower() not in _NO_TEXT
    return name if plain else "'" + name.replace("'", r"\'") + "'"
