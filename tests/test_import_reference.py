"""A checkpoint of the released code becomes one of ours, and answers real files as it did."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from clevr_files import write_grid, write_questions
from conftest import Program

from dact import checkpoint
from dact.errors import UserError
from dact.models import reference
from scripts import import_reference

GOLDEN = Path(os.environ.get("DACT_GOLDEN_DIR", "not-set"))
PACKS = sorted(path.parent.name for path in GOLDEN.glob("*/config.json"))
CLEVR_PACKS = [name for name in PACKS if name.startswith("clevr")]

needs_golden = pytest.mark.skipif(not PACKS, reason="DACT_GOLDEN_DIR does not hold golden packs")


MALICIOUS = pytest.mark.faults(
    "malicious dic.pkl, .model or .yaml",
    tried="os functions where weights, words or options should be",
    happened="refused in one line, nothing executed",
)


class Malicious:
    """Creates a folder when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("executed",))


def nested(flat):
    """The reference's YAML: {"A.B": 1} → {"A": {"B": 1}}."""
    tree = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def write_reference(folder, overrides, words, answers):
    """The YAML file and the dictionary that come with a reference checkpoint."""
    (folder / "x.yaml").write_text(yaml.safe_dump(nested(overrides)))
    dictionary = {
        "word_dic": {f"w{number}": number for number in range(1, words)},
        "answer_dic": {f"a{number}": number for number in range(answers)},
    }
    (folder / "dic.pkl").write_bytes(pickle.dumps(dictionary))


def convert(monkeypatch, folder, weights, mode="clevr"):
    """Run the script on what lies in `folder`."""
    output = folder / "x.ckpt"
    arguments = {
        "--checkpoint": weights,
        "--config": folder / "x.yaml",
        "--vocabulary": folder / "dic.pkl",
        "--mode": mode,
        "--output": output,
    }
    typed = [str(word) for pair in arguments.items() for word in pair]
    monkeypatch.setattr("sys.argv", ["import_reference.py", *typed])
    import_reference.main()
    return output


@pytest.fixture
def imported(monkeypatch, tmp_path):
    """Convert a golden pack."""

    def convert_pack(name):
        config = json.loads((GOLDEN / name / "config.json").read_text())
        values = reference.settings(config["overrides"], config["mode"])
        sizes = values["INPUT.N_VOCAB"], values["OUTPUT.DIM"]
        write_reference(tmp_path, config["overrides"], *sizes)
        path = convert(monkeypatch, tmp_path, GOLDEN / name / "reference.model", config["mode"])
        return path, values

    return convert_pack


def write_inputs(root, inputs):
    """The pack's inputs as a CLEVR folder with grid features."""
    questions = [
        {
            "question_index": number,
            "image_index": number,
            "image_filename": f"{number}.png",
            "question": " ".join(f"w{word}" for word in tokens[:length]),
            "answer": f"a{answer}",
        }
        for number, (tokens, length, answer) in enumerate(
            zip(inputs["tokens"], inputs["lengths"], inputs["answers"], strict=True)
        )
    ]
    write_questions(root, "val", questions)
    write_grid(root, "val", inputs["features"])


@needs_golden
@pytest.mark.parametrize("name", CLEVR_PACKS)
def test_an_imported_checkpoint_predicts_as_the_reference(name, imported, configured, tmp_path):
    path, _ = imported(name)
    expected = np.load(GOLDEN / name / "expected.npz")
    write_inputs(tmp_path / "clevr", np.load(GOLDEN / name / "inputs.npz"))
    typed = ("data=clevr", f"data.root={tmp_path / 'clevr'}", "data.num_workers=0", "trainer=cpu")
    program = Program(tmp_path, *typed, f"ckpt_path={path}")
    lines = program("mode=predict").predictions
    output = torch.from_numpy(expected["eval_output"])
    probabilities = output if "dact" in name else output.softmax(-1)
    best = probabilities.max(-1)
    assert [line["prediction"] for line in lines] == [f"a{one}" for one in best.indices.tolist()]
    found = [line["confidence"] for line in lines]
    assert found == pytest.approx(best.values.tolist(), abs=2e-5)
    assert [line["steps"] for line in lines] == expected["eval_steps"].astype(int).tolist()
    right = [line["prediction"] == line["answer"] for line in lines]
    assert program("mode=validate").value == pytest.approx(sum(right) / len(right))


@needs_golden
@pytest.mark.parametrize("name", PACKS)
def test_an_imported_checkpoint_explains_itself(name, imported):
    path, values = imported(name)
    saved = torch.load(path, weights_only=True)
    description = checkpoint.describe(saved)
    assert (
        description.config["model"] | checkpoint.plain_options(reference.network_options(values))
        == (description.config["model"])
    )
    assert description.config["ponder"]["cost"] == values["ACT.PENALTY_COEF"]
    assert description.grid == name.startswith("clevr")
    assert description.vocabulary["lowercase"] == name.startswith("gqa")
    assert len(description.vocabulary["answers"]) == values["OUTPUT.DIM"]
    weights = checkpoint.network_weights(saved)
    assert len(weights["encoder.embedding.weight"]) == values["INPUT.N_VOCAB"] + 1
    assert not weights["encoder.embedding.weight"][-1].any()


@needs_golden
def test_training_starts_from_an_imported_mac(imported, configured, tmp_path):
    path, values = imported("clevr_mac")
    root = tmp_path / "clevr"
    write_inputs(root, np.load(GOLDEN / "clevr_mac" / "inputs.npz"))
    # Its first question shows every word in the order of the dictionary, its others every answer.
    words, answers = values["INPUT.N_VOCAB"], values["OUTPUT.DIM"]
    question = {
        "question": " ".join(f"w{number}" for number in range(1, words)),
        "image_index": 0,
        "image_filename": "0.png",
    }
    questions = [
        {**question, "question_index": number, "answer": f"a{number}"} for number in range(answers)
    ]
    write_questions(root, "train", questions)
    val = root / "features" / "val_features.hdf5"
    val.with_name("train_features.hdf5").write_bytes(val.read_bytes())
    shape = checkpoint.describe(checkpoint.load(path)).config["model"]
    names = ("dim", "max_steps", "embedding_dim", "stem_kernel", "self_attention", "control_init")
    program = Program(
        tmp_path,
        *("data=clevr", f"data.root={root}", "data.num_workers=0", "trainer=smoke"),
        *(f"model.{name}={shape[name]}" for name in names),
        *("optimizer.learning_rate=0", "model=dact", f"warm_start={path}"),
    )
    weights = checkpoint.network_weights(program().checkpoint)
    for name, value in checkpoint.network_weights(checkpoint.load(path)).items():
        assert torch.equal(weights[name], value)


# Refusals.


@pytest.fixture
def small(tmp_path):
    """Settings and dictionary of a checkpoint that is still to be written."""
    write_reference(tmp_path, {"MAC": {"DIM": 8}}, 5, 3)
    return tmp_path


def refusal(monkeypatch, folder, weights):
    with pytest.raises(UserError) as raised:
        convert(monkeypatch, folder, weights)
    assert "\n" not in str(raised.value)
    assert not (folder / "x.ckpt").exists()
    return str(raised.value)


@MALICIOUS
def test_malicious_weights_are_refused_and_not_executed(monkeypatch, small):
    torch.save({"embed.weight": Malicious()}, small / "x.model")
    assert "--checkpoint" in refusal(monkeypatch, small, small / "x.model")
    assert not Path("executed").exists()


@MALICIOUS
def test_a_malicious_dictionary_is_refused_and_not_executed(monkeypatch, small):
    torch.save({}, small / "x.model")
    (small / "dic.pkl").write_bytes(pickle.dumps({"word_dic": Malicious(), "answer_dic": {}}))
    assert "dic.pkl is not a plain dictionary" in refusal(monkeypatch, small, small / "x.model")
    assert not Path("executed").exists()


@MALICIOUS
def test_a_malicious_configuration_is_refused_and_not_executed(monkeypatch, small):
    torch.save({}, small / "x.model")
    (small / "x.yaml").write_text("MAC: !!python/object/apply:os.mkdir [executed]\n")
    assert "x.yaml cannot be read" in refusal(monkeypatch, small, small / "x.model")
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04"])
def test_damaged_weights_are_refused(monkeypatch, small, content):
    (small / "x.model").write_bytes(content)
    assert "--checkpoint" in refusal(monkeypatch, small, small / "x.model")


@pytest.mark.parametrize("name", ["x.model", "x.yaml", "dic.pkl"])
def test_missing_files_are_named(monkeypatch, small, name):
    torch.save({}, small / "x.model")
    (small / name).unlink()
    assert name in refusal(monkeypatch, small, small / "x.model")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"embed.weight": [1.0]}])
def test_what_is_no_state_dict_is_refused(monkeypatch, small, content):
    torch.save(content, small / "x.model")
    assert "is not a state dict" in refusal(monkeypatch, small, small / "x.model")


def test_unknown_and_missing_parameters_are_named(monkeypatch, small):
    torch.save({"colour.weight": torch.ones(2)}, small / "x.model")
    assert "colour.weight" in refusal(monkeypatch, small, small / "x.model")
    torch.save({}, small / "x.model")
    refusal(monkeypatch, small, small / "x.model")


@needs_golden
def test_a_dictionary_of_another_size_is_refused(monkeypatch, imported, tmp_path):
    path, values = imported("clevr_mac")
    path.unlink()
    overrides = json.loads((GOLDEN / "clevr_mac" / "config.json").read_text())["overrides"]
    weights = GOLDEN / "clevr_mac" / "reference.model"
    words, answers = values["INPUT.N_VOCAB"], values["OUTPUT.DIM"]
    write_reference(tmp_path, overrides, words - 3, answers)
    assert "use the dictionary that it was trained with" in refusal(monkeypatch, tmp_path, weights)
    write_reference(tmp_path, overrides, words, answers + 1)
    assert "does not fit this network" in refusal(monkeypatch, tmp_path, weights)
