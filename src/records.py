"""What a run leaves about itself: its options, metrics and result; the options as Hydra would."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from dact.run_folder import has_begun, write_whole
from dact.schema import Config


def folder_of(folder: Path, mode: str) -> Path:
    """Where a run leaves its options, metrics and result: its folder.

    That of a training keeps its own; an evaluation in it takes a folder inside, called like its
    mode.
    """
    return folder / mode if mode != "fit" and has_begun(folder) else folder


def write_options(folder: Path, config: Config, typed: Sequence[str]) -> None:
    """Leave the options of a run in `.hydra/`, if it is Hydra that runs it.

    Hydra itself would write them before anybody knows whether the run may have the folder, over
    those of the run that is in it.

    Args:
        folder: of the run, which has taken it.
        config: of the run.
        typed: the user's overrides.
    """
    if not HydraConfig.initialized():
        return
    place = folder / ".hydra"
    place.mkdir(exist_ok=True)
    own = {"config": config, "hydra": HydraConfig.instance().cfg, "overrides": list(typed)}
    for name, options in own.items():
        write_whole(place / f"{name}.yaml", OmegaConf.to_yaml(options))
