"""Turn a checkpoint of the authors' released code into one of ours.

python scripts/import_reference.py --checkpoint X.model --config X.yaml --vocabulary dic.pkl \
    --mode clevr|gqa --output X.ckpt
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from dact import checkpoint as checkpoints
from dact import checkpoint_file
from dact.datamodules import Vocabulary, read_reference_dictionary
from dact.datamodules.clevr import QUESTION_TYPES
from dact.errors import UserError
from dact.models import build_network, reference
from dact.one_line import one_line_errors


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name: {"MAC": {"DIM": 512}} → {"MAC.DIM": 512}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_settings(path: Path, mode: str) -> dict[str, Any]:
    """A reference YAML file over the reference's defaults."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--config {path} cannot be read: {type(error).__name__}") from error
    if not isinstance(tree, Mapping):
        raise UserError(f"--config {path} holds no settings")
    return reference.settings(flatten(tree), mode)


def read_weights(path: Path) -> dict[str, Tensor]:
    """A reference state dict, without running anything in the file."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"--checkpoint {path} does not exist") from error
    except Exception as error:
        raise UserError(f"--checkpoint {path} is damaged or not a plain state dict") from error
    if not isinstance(weights, Mapping) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise UserError(f"--checkpoint {path} is not a state dict")
    return {name.removeprefix("module."): value for name, value in weights.items()}


def with_unknown_word(weights: dict[str, Tensor], vocabulary: Vocabulary) -> dict[str, Tensor]:
    """Add a zero row for unknown words, which the reference does not have."""
    name = "encoder.embedding.weight"
    if name not in weights:
        raise UserError("the reference checkpoint lacks embed.weight: it is no whole network")
    rows = weights[name]
    if vocabulary.num_words != len(rows) + 1:
        raise UserError(
            f"the vocabulary has {vocabulary.num_words - 2} words, but the checkpoint embeds "
            f"{len(rows) - 1}: use the dictionary that it was trained with"
        )
    return {**weights, name: torch.cat([rows, rows.new_zeros(1, rows.shape[1])])}


def convert(
    weights: Mapping[str, Tensor], values: Mapping[str, Any], vocabulary: Vocabulary, mode: str
) -> dict[str, Any]:
    """Our checkpoint, checked by loading it into a network."""
    options = reference.network_options(values)
    ponder = reference.ponder_options(values)
    converted = reference.convert_state_dict(weights, options)
    description = checkpoints.Description(
        config={
            "model": {**checkpoints.plain_options(options), "recipe": _recipe(values)},
            "ponder": checkpoints.plain_options(ponder),
            "data": {"name": mode, "features": "grid" if mode == "clevr" else "objects"},
        },
        vocabulary=vocabulary.to_dict(),
        feature_dim=values["MAC.KNOW_DIM"],
        grid=mode == "clevr",
        type_names=list(QUESTION_TYPES) if mode == "clevr" else [],
    )
    network = build_network(options, ponder=ponder, **checkpoints.sizes(description, vocabulary))
    converted = with_unknown_word(converted, vocabulary)
    checkpoints.load_weights(network, converted, source="the reference checkpoint")
    state = {checkpoints.PREFIX + name: value for name, value in network.state_dict().items()}
    return {"state_dict": state, checkpoints.ENTRY: checkpoints.entry(description, {})}


def _recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    plateau = values["SOLVER.USE_SCHEDULER"]
    return {
        "epochs": values["SOLVER.EPOCHS"],
        "learning_rate": values["SOLVER.LR"],
        "schedule": "plateau" if plateau else "constant",
    }


def main() -> None:
    """Parse arguments, convert, say what was made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("checkpoint", "config", "vocabulary", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--mode", choices=sorted(reference.DEFAULTS), required=True)
    arguments = parser.parse_args()
    values = read_settings(arguments.config, arguments.mode)
    vocabulary = read_reference_dictionary(arguments.vocabulary, lowercase=arguments.mode == "gqa")
    weights = read_weights(arguments.checkpoint)
    checkpoint = convert(weights, values, vocabulary, arguments.mode)
    checkpoint_file.write(arguments.output, checkpoint)
    name = checkpoints.describe(checkpoint).config["model"]["name"]
    print(f"{arguments.output}: {name}, {vocabulary.num_answers} answers")


if __name__ == "__main__":
    sys.exit(one_line_errors(main))
