"""Preprocess a dataset ahead of training (`run.py` does so by itself when needed).

`python scripts/preprocess.py data=clevr data.root=…`
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from dact import config, hydra_app
from dact.datamodules import build_datamodule
from dact.one_line import ends_in_one_line

CONF = Path(__file__).parents[1] / "conf"


@hydra.main(config_path=str(CONF), config_name="script", version_base="1.3")
@ends_in_one_line
def main(cfg: DictConfig) -> None:
    """Pack the questions (and scenes) of the training and validation splits."""
    data = build_datamodule(**config.data_options(OmegaConf.to_object(cfg.data), cfg.seed))
    data.prepare_data("fit")
    data.setup("fit")
    words, answers = data.vocabulary.num_words - 2, data.vocabulary.num_answers
    print(f"{data.cache_dir}: {words} words, {answers} answers")
    for split in data.splits_of("fit"):
        print(f"{split}: {len(data.dataset(split)):,} questions")


if __name__ == "__main__":
    sys.exit(hydra_app.start(main, CONF))
