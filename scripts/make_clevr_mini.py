"""Make the clevr_mini dataset (`run.py` does so by itself on first use).

`python scripts/make_clevr_mini.py [data.root=…] [data.generate.images.train=…] …`
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from dact import command_line, config
from dact.datamodules.clevr_mini import generate
from dact.errors import UserError

CONF = Path(__file__).parents[1] / "conf"


@hydra.main(config_path=str(CONF), config_name="script", version_base="1.3")
@config.ends_in_one_line
def main(cfg: DictConfig) -> None:
    """Generate into `data.root`, which must not exist or be empty."""
    if cfg.data.generate is None:
        raise UserError(f"data={cfg.data.name} is not made here: leave data out")
    generate(Path(cfg.data.root), **OmegaConf.to_container(cfg.data.generate, resolve=True))
    print(f"clevr_mini is in {cfg.data.root}")


if __name__ == "__main__":
    sys.argv[1:] = command_line.rewrite(sys.argv[1:], [])
    config.register()
    sys.exit(config.one_line_errors(main, CONF))
