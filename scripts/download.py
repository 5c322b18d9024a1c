"""Fetch the official archives of a dataset, check them, and unpack what is needed of them.

`python scripts/download.py data=clevr|gqa [data.features=…] [data.root=…] [images=true]`

Run it again after an interruption: it goes on where it stopped.
"""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from dact import checks, hydra_app
from dact.downloads import download
from dact.errors import UserError
from dact.one_line import ends_in_one_line
from dact.schema import DownloadConfig

CONF = Path(__file__).parents[1] / "conf"


@hydra.main(config_path=str(CONF), config_name="download", version_base="1.3")
@ends_in_one_line
def main(cfg: DictConfig) -> None:
    """Download into `data.root`."""
    options: DownloadConfig = OmegaConf.to_object(cfg)
    checks.check_download(options)
    download(
        Path(options.data.root).expanduser(),
        options.archives,
        options.data.features,
        pictures=options.images,
        keep_archives=options.keep_archives,
        retries=options.retries,
        timeout=options.timeout,
    )


def check_choice(arguments: list[str]) -> None:
    """Refuse a dataset that has no archives, of which Hydra would say less.

    Raises:
        UserError: names those that have.
    """
    known = sorted(path.stem for path in (CONF / "archives").glob("*.yaml"))
    for argument in arguments:
        option, _, name = argument.partition("=")
        if option == "data" and name not in known and (CONF / "data" / f"{name}.yaml").exists():
            raise UserError(
                f"data={name} is made on first use, there is nothing to download: "
                f"choose {' or '.join(known)}"
            )


def run() -> None:
    """The whole program."""
    check_choice(sys.argv[1:])
    main()


if __name__ == "__main__":
    sys.exit(hydra_app.start(run, CONF))
