"""Make clevr_mini, clevr_depth or gqa_mini (`run.py` does so by itself on first use).

`python scripts/make_clevr_mini.py [data=…] [data.root=…] [data.generate.images.train=…] …`
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from dact import config, hydra_app
from dact.datamodules import clevr_mini, gqa_mini
from dact.errors import UserError
from dact.one_line import ends_in_one_line

GENERATORS = {
    "clevr_mini": clevr_mini.generate,
    "clevr_depth": clevr_mini.depth.generate,
    "gqa_mini": gqa_mini.generate,
}
CONF = Path(__file__).parents[1] / "conf"


@hydra.main(config_path=str(CONF), config_name="script", version_base="1.3")
@ends_in_one_line
def main(cfg: DictConfig) -> None:
    """Generate into `data.root`, which must not exist or be empty."""
    if cfg.data.name not in GENERATORS:
        raise UserError(f"data={cfg.data.name} is not made here: choose {' or '.join(GENERATORS)}")
    recipe = config.data_options(OmegaConf.to_object(cfg.data), cfg.seed)["generate"]
    GENERATORS[cfg.data.name](Path(cfg.data.root), **recipe)
    print(f"{cfg.data.name} is in {cfg.data.root}")


if __name__ == "__main__":
    sys.exit(hydra_app.start(main, CONF))
