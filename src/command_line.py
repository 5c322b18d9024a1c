"""What users type, made into what Hydra understands.

Hydra 1.3 reads `ponder=5e-3` as a number and refuses numbers as group choices, and it stops at '='
and blanks in paths. Both are rewritten before Hydra sees the arguments. Rewriting twice changes
nothing more, which matters because Lightning passes the arguments on to the processes it starts.
"""

from collections.abc import Collection, Sequence

#: Options whose values are paths.
PATH_OPTIONS = ("ckpt_path", "warm_start", "data.root", "data.cache_dir", "predictions")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unquote(text: str) -> str:
    text = text.strip()
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def cost_name(cost: float) -> str:
    """A ponder cost as short as it can be written: 0, 5e-3, 1.5e-3, 2e+1, nan.

    >>> [cost_name(value) for value in (0.0, 0.005, 0.0015, 20.0, 1.0)]
    ['0', '5e-3', '1.5e-3', '2e+1', '1']
    """
    if cost == 0 or cost != cost or abs(cost) == float("inf"):
        return f"{abs(cost):g}" if cost == 0 else f"{cost:g}"
    mantissa, exponent = f"{cost:e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    power = int(exponent)
    return mantissa if power == 0 else f"{mantissa}e{power:+d}".replace("e+0", "")


def rewrite_ponder(argument: str, files: Collection[str]) -> str:
    """Rewrite one `ponder=…` argument.

    Numbers that have a file become its quoted name. As soon as one number of a list has no file,
    the whole list overrides the cost itself. Names pass.

    Args:
        argument: for instance `ponder=5e-3`, `ponder=1e-3,3e-3` or `ponder='5e-3'`.
        files: names of the choices, without ending.

    >>> rewrite_ponder("ponder=0.005", ["5e-3"]), rewrite_ponder("ponder=5e-3,3e-3", ["5e-3"])
    ("ponder='5e-3'", 'ponder.cost=5e-3,3e-3')
    """
    _, _, value = argument.partition("=")
    by_cost = {_number(name): name for name in files if _number(name) is not None}
    parts = [_unquote(part) for part in value.split(",")]
    costs = [_number(part) for part in parts]
    if all(cost is None for cost in costs):
        return argument
    if None not in costs and any(cost not in by_cost for cost in costs):
        return "ponder.cost=" + ",".join(cost_name(cost) for cost in costs)
    named = [
        part if cost is None else f"'{by_cost.get(cost, part)}'"
        for part, cost in zip(parts, costs, strict=True)
    ]
    return "ponder=" + ",".join(named)


def quote_path(argument: str) -> str:
    """Quote the path in `option=path` so that Hydra takes it as it is.

    >>> quote_path("ckpt_path=logs/a=b c/last.ckpt")
    "ckpt_path='logs/a=b c/last.ckpt'"
    """
    option, _, path = argument.partition("=")
    if path != _unquote(path) or path in ("", "null"):
        return argument
    escaped = path.replace("\\", "\\\\").replace("'", "\\'")
    return f"{option}='{escaped}'"


def rewrite(arguments: Sequence[str], ponder_files: Collection[str]) -> list[str]:
    """The whole command line (without the program) as Hydra should see it."""
    rewritten = []
    for argument in arguments:
        option = argument.partition("=")[0]
        if option == "ponder":
            argument = rewrite_ponder(argument, ponder_files)
        elif option in PATH_OPTIONS and "=" in argument:
            argument = quote_path(argument)
        rewritten.append(argument)
    return rewritten
