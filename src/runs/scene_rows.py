"""Which rows of a scene a network is trained on: with the background row or without."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dact import checkpoint as checkpoints
from dact import command_line, run_folder
from dact import config as configs
from dact.errors import UserError
from dact.schema import Config

from .parts import say


def with_rows_of_start(config: Config, folder: Path, typed: Sequence[str]) -> Config:
    """The configuration with the scene rows that the network it starts from was trained on.

    Checkpoints from before there was a background row go on without one.

    Args:
        config: of the run.
        folder: of the run.
        typed: the user's overrides.

    Raises:
        UserError: `data.background` was typed and is not that of the checkpoint.
    """
    if config.data.features != "state":
        return config
    if config.ckpt_path:
        if run_folder.stopped_before_its_own_training(folder):
            return config
        files = run_folder.candidates(config.ckpt_path, folder, configs.name_of(config))
        path, saved = checkpoints.load_first_whole(files)
    elif config.warm_start in ("auto", "none"):
        return config
    else:
        path = Path(config.warm_start).expanduser()
        saved = checkpoints.load(path)
    was, now = checkpoints.describe(saved).config["data"].get("background"), config.data.background
    if was is None or was == now:
        return config
    if any(command_line.key_of(text) == "data.background" for text in typed):
        raise UserError(
            f"{path} was trained with data.background={was}, not {now}: leave data.background out"
        )
    say(f"scenes {'with' if was else 'without'} a background row, as {path} was trained")
    return replace(config, data=replace(config.data, background=was))
