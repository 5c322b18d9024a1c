"""What users type, made into what Hydra understands, and what they meant where it is neither.

Hydra stops at '=', blanks and letters beyond ASCII in paths and texts, takes only names in its
groups, and wants its own options, such as `-m`, before ours. All is rewritten before Hydra sees
the arguments. Rewriting twice changes nothing more, which matters because Lightning passes the
arguments on to the processes it starts.
"""

import difflib
import os
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from dact.groups import choices, read, rewrite_choice
from dact.hydra_options import hydra_first
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
    "trainer.default_root_dir",
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
)
#: Options of loggers whose values are texts.
TEXT_OPTIONS = tuple(
    f"logger.{name}"
    for name in ("project", "name", "notes", "group", "entity", "id", "version", "job_type")
)
#: Where Hydra has the values of a sweep as texts.
PARAMS = "hydra.sweeper.params."
_FUNCTION = re.compile(r"\s*\w+\(.*\)\s*", re.DOTALL)


def _unquote(text: str) -> str:
    text = text.strip()
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def quote_path(argument: str) -> str:
    """Quote the text in `option=text` so that Hydra takes it as it is.

    >>> quote_path("ckpt_path=logs/a=b c/last.ckpt")
    "ckpt_path='logs/a=b c/last.ckpt'"
    """
    option, _, path = argument.partition("=")
    if path in ("", "null"):
        return argument
    if path.strip() != _unquote(path):
        if read(argument) is not None:
            return argument
        path = _unquote(path)  # quoted by somebody who did not look into it
    # To Hydra a backslash is itself, unless a quote follows.
    before_quotes = re.compile(r"(\\*)('|\Z)")
    escaped = before_quotes.sub(lambda found: found[1] * 2 + found[2].replace("'", r"\'"), path)
    return f"{option}='{escaped}'"


def _quote_each(argument: str) -> str:
    """Quote each text of a list of them, unless there is a file whose name has the comma."""
    option, _, value = argument.partition("=")
    if value.strip() != _unquote(value) or os.path.exists(os.path.expanduser(value)):
        return quote_path(argument)
    if _FUNCTION.fullmatch(value) and read(argument) is not None:
        return argument
    quoted = [quote_path(f"{option}={text}").partition("=")[2] for text in value.split(",")]
    return f"{option}={','.join(quoted)}"


def _is_text(option: str) -> bool:
    return option in (*PATH_OPTIONS, *TEXT_OPTIONS) or option.endswith(".url")


def _quote_unreadable(argument: str, sweeps: bool) -> str:
    """Quote what Hydra cannot read, unless that helps nobody."""
    option, _, value = argument.partition("=")
    if read(argument) is not None or _FUNCTION.fullmatch(value):  # of which Hydra says more
        return argument
    if listed := re.fullmatch(r"\s*\[(.*)\]\s*", value, re.DOTALL):
        quoted = f"{option}=[{_quote_each(f'{option}={listed[1]}').partition('=')[2]}]"
    else:
        quoted = _quote_each(argument) if sweeps else quote_path(argument)
    return quoted if read(quoted) is not None else argument


def rewrite_one(argument: str, folders: Sequence[Path], *, sweeps: bool = False) -> str:
    """One override as Hydra should see it.

    Args:
        argument: for instance `ponder=5e-3`.
        folders: where configurations are.
        sweeps: whether commas are between the values of a sweep.

    Raises:
        UserError: a group does not take such values.
    """
    return _rewrite_one(argument, choices(key_of(argument), folders), sweeps)


def _rewrite_one(argument: str, known: Collection[str], sweeps: bool) -> str:
    option = key_of(argument)
    if "=" not in argument:
        return argument
    if known or option == "ponder":
        return rewrite_choice(_quote_unreadable(argument, sweeps), known)
    if option.startswith("hydra."):
        return _rewrite_option_of_hydra(argument, option)
    if _is_text(option):
        return _quote_each(argument) if sweeps else quote_path(argument)
    return _quote_unreadable(argument, sweeps)


def _rewrite_option_of_hydra(argument: str, option: str) -> str:
    """One of Hydra's own overrides, which are never swept over."""
    name, _, value = argument.partition("=")
    if option in PATH_OPTIONS:
        home = value.startswith("~/")
        return quote_path(f"{name}={Path(value).expanduser()}" if home else argument)
    return _quote_unreadable(argument, sweeps=False)


def _starts_a_sweep(argument: str) -> bool:
    if argument.startswith("--m"):  # may be shortened
        return "--multirun".startswith(argument)
    key, _, value = argument.partition("=")
    return key == "-m" or (key_of(key) == "hydra.mode" and _unquote(value) == "MULTIRUN")


def config_folders(arguments: Sequence[str], conf: Path | None) -> list[Path]:
    """Where configurations are looked for.

    Args:
        arguments: rewritten.
        conf: where they are anyway.
    """
    found = [conf] if conf else []
    for argument in arguments:
        option, _, value = argument.partition("=")
        if option in ("--config-dir", "--config-path"):
            found.append(Path(value))
        elif key_of(option) == "hydra.searchpath" and (override := read(argument)):
            paths = override.value() if isinstance(override.value(), list) else []
            found += [Path(str(path).removeprefix("file://")) for path in paths]
    return found


def rewrite(
    arguments: Sequence[str], ponder_files: Collection[str], conf: Path | None = None
) -> list[str]:
    """The whole command line (without the program) as Hydra should see it.

    Args:
        arguments: what was typed.
        ponder_files: names of the ponder costs that have a file.
        conf: where configurations are.

    Raises:
        UserError: a group does not take such values.

    >>> rewrite(["model=dact", "-m", "ponder=5e-3,0"], ["0", "5e-3"])
    ['-m', 'model=dact', "ponder='5e-3','0'"]
    >>> rewrite(["-m", "ckpt_path=a/x.ckpt,b/y.ckpt"], [])
    ['-m', "ckpt_path='a/x.ckpt','b/y.ckpt'"]
    >>> rewrite(["+data.generate.max_hops=1"], [])
    ['++data.generate.max_hops=1']
    """
    own, overrides = hydra_first(arguments)
    folders = config_folders([*own, *overrides], conf)
    sweeps = any(map(_starts_a_sweep, [*own, *overrides]))
    for argument in overrides:
        if sweeps and key_of(argument).startswith(PARAMS):  # what it means, and Hydra cannot add
            name, _, values = argument.partition("=")
            argument = f"{key_of(name).removeprefix(PARAMS)}={_unquote(values)}"
        if argument.startswith("+data.generate."):  # may be added, whether it is there or not
            argument = f"+{argument}"
        group = key_of(argument)
        known = set(choices(group, folders)) | set(ponder_files if group == "ponder" else ())
        own.append(_rewrite_one(argument, sorted(known), sweeps))
    return own


def for_shell(arguments: Sequence[str]) -> str:
    """Rewritten arguments as one would type them.

    >>> for_shell(["model=mac", "data.root='/a b'", "data.cache_dir='/c'"])
    "model=mac data.root='/a b' data.cache_dir=/c"
    """
    words = []
    for argument in arguments:
        option, _, value = argument.partition("=")
        if quoted := re.fullmatch(r"'(.*)'", value, re.DOTALL):
            before_quotes = re.compile(r"(\\+)('|\Z)")
            inner = before_quotes.sub(lambda m: m[1][: len(m[1]) // 2] + m[2], quoted[1])
            needless = _rewrite_one(f"{option}={inner}", (), sweeps=False) == argument
            words.append(f"{option}={shlex.quote(inner)}" if needless else shlex.quote(argument))
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
        searched = [Path(path) for path in re.findall(r"path=file://(.+)", message)]
        known = choices(group, [conf, *searched])
        meant = _nearest(name, known)
        advice = f"did you mean {meant}?" if meant else f"choose {', '.join(known)}"
        return f"there is no {group}={name}: {advice}"
    known = set(_option_names(Config()))
    for key in map(key_of, arguments):
        if key in known:  # of which Hydra says what is wrong
            continue
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
