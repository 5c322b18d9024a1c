"""Train, evaluate and predict: `python run.py [mode=…] data=… model=… ponder=… trainer=…`.

Everything that can be set is in conf/, and `python run.py --help` lists it. What a run does is in
`dact.runs`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dact import checks, hydra_app, records, run_folder, sweeps
from dact import config as configs
from dact.console import silence_libraries
from dact.one_line import ends_in_one_line

CONF = Path(__file__).parent / "conf"


@hydra.main(config_path="conf", config_name="config", version_base="1.3")
@ends_in_one_line
def main(cfg: DictConfig) -> float | None:
    """One run. Returns the validation accuracy of a fit, for sweepers that optimise."""
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    sweep = hydra_config.mode == RunMode.MULTIRUN
    try:
        return run(cfg, folder=folder, typed=list(hydra_config.overrides.task), sweep=sweep)
    except BaseException:
        run_folder.remove_if_unused(records.folder_of(folder, cfg.mode))
        raise


def run(
    cfg: DictConfig, *, folder: Path, typed: Sequence[str] = (), sweep: bool = False
) -> float | None:
    """Run a composed configuration in `folder`; `typed` are the overrides that the user gave."""
    checks.check(cfg)
    if cfg.mode == "fit":  # else the checkpoint says what network it is
        checks.check_typed_is_used(cfg, typed)
    # Only now, since it takes seconds: loads PyTorch.
    from dact.runs.job import execute, execute_in_sweep

    silence_libraries()
    config = configs.resolve(cfg)
    if sweep:
        program = [str(Path(__file__)), *sweeps.arguments_of_hydra(CONF)]
        return execute_in_sweep(config, folder, typed, program)
    return execute(config, folder, typed)


def ponder_files() -> list[str]:
    """Names of the ponder costs that have a file."""
    return [path.stem for path in (CONF / "ponder").glob("*.yaml")]


if __name__ == "__main__":
    sys.exit(hydra_app.start(main, CONF, ponder_files()))
