"""What users type, made into what Hydra understands, and what they meant where it is neither.

Hydra 1.3 reads `ponder=5e-3` as a number and refuses numbers as group choices, it stops at '='
and blanks in paths, and it wants `-m` before the options. All are rewritten before Hydra sees the
arguments. Rewriting twice changes nothing more, which matters because Lightning passes the
arguments on to the processes it starts.
"""

import difflib
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from dact.schema import Config

#: Options whose values are paths; addresses, whose options end in `.url`, are quoted like them.
PATH_OPTIONS = (
    "ckpt_path",
    "warm_start",
    "data.root",
    "data.cache_dir",
    "model.embedding.path",
    "predictions",
    "attentions",
    "backbone.weights",
    "output_dir",
)
#: What starts a sweep.
MULTIRUN = ("-m", "--multirun")


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
    # The shortest digits that give this very number.
    mantissa, exponent = f"{Decimal(repr(cost)):e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = int(exponent)
    return mantissa if power == 0 else f"{mantissa}e{power:+d}"


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
    if path.strip() != _unquote(path) or path in ("", "null"):
        return argument
    # To Hydra a backslash is itself, unless a quote follows.
    before_quotes = re.compile(r"(\\*)('|\Z)")
    escaped = before_quotes.sub(lambda found: found[1] * 2 + found[2].replace("'", r"\'"), path)
    return f"{option}='{escaped}'"


def _quote_paths(argument: str) -> str:
    """Quote each path of a list of them, unless there is a file whose name has the comma."""
    option, _, value = argument.partition("=")
    if "," not in value or value.strip() != _unquote(value) or Path(value).expanduser().exists():
        return quote_path(argument)
    quoted = [quote_path(f"{option}={path}").partition("=")[2] for path in value.split(",")]
    return f"{option}={','.join(quoted)}"


def rewrite(arguments: Sequence[str], ponder_files: Collection[str]) -> list[str]:
    """The whole command line (without the program) as Hydra should see it.

    >>> rewrite(["model=dact", "-m", "ponder=5e-3,0"], ["0", "5e-3"])
    ['-m', 'model=dact', "ponder='5e-3','0'"]
    >>> rewrite(["-m", "ckpt_path=a/x.ckpt,b/y.ckpt"], [])
    ['-m', "ckpt_path='a/x.ckpt','b/y.ckpt'"]
    >>> rewrite(["+data.generate.max_hops=1"], [])
    ['++data.generate.max_hops=1']
    """
    rewritten = []
    sweeps = any(argument in MULTIRUN for argument in arguments)
    # Hydra's parser stops reading options of ours at an option of its own that stands among them.
    for argument in sorted(arguments, key=lambda argument: argument not in MULTIRUN):
        option = argument.partition("=")[0]
        if option == "ponder":
            argument = rewrite_ponder(argument, ponder_files)
        elif (option in PATH_OPTIONS or option.endswith(".url")) and "=" in argument:
            argument = _quote_paths(argument) if sweeps else quote_path(argument)
        elif option.startswith("+data.generate."):  # may be added, whether it is there or not
            argument = f"+{argument}"
        rewritten.append(argument)
    return rewritten


def for_shell(arguments: Sequence[str]) -> str:
    """Rewritten arguments as one would type them.

    >>> for_shell(["model=mac", "data.root='/a b'", "data.cache_dir='/c'"])
    "model=mac data.root='/a b' data.cache_dir=/c"
    """
    words = []
    for argument in arguments:
        option, _, value = argument.partition("=")
        if option in PATH_OPTIONS and (quoted := re.fullmatch(r"'(.*)'", value, re.DOTALL)):
            before_quotes = re.compile(r"(\\+)('|\Z)")
            value = before_quotes.sub(lambda m: m[1][: len(m[1]) // 2] + m[2], quoted[1])
            words.append(f"{option}={shlex.quote(value)}")
        else:
            words.append(shlex.quote(argument))
    return " ".join(words)


def key_of(override: str) -> str:
    """The option or group that an override is for.

    >>> key_of("+model.dim=8"), key_of("~experiment")
    ('model.dim', 'experiment')
    """
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def no_such_option(name: str) -> str:
    """A line that says so, with the nearest names that there are.

    >>> no_such_option("model.dimm")
    'there is no option model.dimm: did you mean model.dim?'
    """
    known = [*_option_names(Config()), "experiment"]
    meant = _nearest(name, known)
    return f"there is no option {name}" + (f": did you mean {meant}?" if meant else "")


def what_was_meant(message: str, arguments: Sequence[str], conf: Path | None) -> str:
    """A line that names the option or choice that was probably meant, or nothing.

    Args:
        message: Hydra's, about what it did not understand.
        arguments: what was typed.
        conf: folder of the config groups.
    """
    missing = re.search(r"Could not find '(\w+)/(.+)'", message)
    if missing and conf:
        group, name = missing.groups()
        files = (conf / group).rglob("*.yaml")
        known = sorted(str(path.relative_to(conf / group).with_suffix("")) for path in files)
        meant = _nearest(name, known)
        advice = f"did you mean {meant}?" if meant else f"choose {', '.join(known)}"
        return f"there is no {group}={name}: {advice}"
    for key in map(key_of, arguments):
        if f"'{key}'" in message or f"'{key.rpartition('.')[2]}'" in message:
            return no_such_option(key)
    return ""


def _nearest(name: str, known: Sequence[str]) -> str:
    """The one name that is nearly the same, else the two that resemble it most, if any do."""
    same = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
    return " or ".join(same or difflib.get_close_matches(name, known, n=2, cutoff=0.6))


def _option_names(node: Any, prefix: str = "") -> Iterator[str]:
    for name, value in vars(node).items():
        yield prefix + name
        if is_dataclass(value):
            yield from _option_names(value, f"{prefix}{name}.")
