"""Hydra's own options on a command line: before all overrides, and of the folder they came from."""

import os
from collections.abc import Sequence
from pathlib import Path

#: Options of Hydra that have a value, and their short names.
_FOLLOWED = {
    "--config-dir": "-cd",
    "--config-path": "-cp",
    "--config-name": "-cn",
    "--cfg": "-c",
    "--package": "-p",
    "--experimental-rerun": "",
}
#: The one whose value may be left out, and its values; an override that follows is none.
_INFO = ("--info", "-i")
_TOPICS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def hydra_first(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's own options, each in one word, and the overrides.

    Hydra's parser stops reading overrides at an option of its own that stands among them.
    """
    own, overrides, words = [], [], list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        name, attached, value = word.partition("=")
        full = [k for k, short in _FOLLOWED.items() if name in (k, short)]
        full = full or [k for k in _FOLLOWED if name.startswith("--") and k.startswith(name)]
        if word in _INFO:
            own.append(f"--info={words.pop(0) if words and words[0] in _TOPICS else 'all'}")
            continue
        if len(full) != 1:
            own.append(word)
            continue
        if not attached:
            if not words:
                own.append(word)
                continue
            value = words.pop(0)
        own.append(f"{full[0]}={_from_here(full[0], value)}")
    return own, overrides


def _from_here(option: str, value: str) -> str:
    """Folders of configurations, made absolute: they are of the folder where this was typed."""
    if option not in ("--config-dir", "--config-path") or "://" in value:
        return value
    path = Path(value).expanduser()
    # To Hydra a relative --config-path is one beside the program.
    return os.path.abspath(path) if option == "--config-dir" or path.is_dir() else value
