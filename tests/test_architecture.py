"""Who may import whom, and how long things may get; read from the source, nothing is run."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Every file of the package, lowest first: a file imports only from names before its own. A new
#: file has to be put where it belongs. "." is the `__init__` of the package before the colon.
LAYERS = """
errors allocator batch options schema groups hydra_options command_line stopping locks
run_folder records streams one_line trainer_checks checks sweeps config hydra_app
console word_vectors
datamodules.clevr_mini: attributes masks referents families options balance wording domains
datamodules.clevr_mini: programs sampling camera scenes chunks questions solids drawing execution
datamodules: processes
datamodules.clevr_mini: workshop generation depth .
datamodules.gqa_mini: world scenes view facts wording drafts ask_attributes ask_pairs ask_objects
datamodules.gqa_mini: ask_places ask_scene ask_shared questions records balance options features
datamodules.gqa_mini: chunks files generation .
datamodules: cache packed_file json_stream axes hdf5_rows image_names provenance gqa_files
datamodules: tokenizers vocabulary questions features feature_files image_rows unseen
datamodules: prior scene_states reads_needed gqa_shards gqa_index gqa_features gqa_ragged gqa_tsv
gqa_metrics: questions predictions groups accuracy choices consistency distribution grounding
gqa_metrics: sources evaluation report .
models: functional rows
models: layers attention encoders read_scores mac_units mac_cell answer_head
models: halting.policy halting.loop halting.fixed halting.act halting.dact
models: halting.pondernet halting.step_loss halting
models: network factory reference .
losses metrics optimizers schedules
datamodules: question_writer question_shards gqa_questions question_cache collate orders
datamodules: worker_signals worker_errors loaders data_checks dataset
datamodules: base clevr clevr_family gqa mini factory .
downloads: progress parts transfer archives jobs download .
extraction: packaged decoding images backbones feature_file extract .
lit_module checkpoint_file checkpoint checkpoint_checks growth limits loggers saving
warm_start callbacks ordered_lines predictions trackers report
explain: . reasoning survey sweep views figures sweep_figures page writing knowledge report
.
runs: . observer processes parts place restore explain scene_rows start stop fit official evaluate
runs: job compare
"""

MAX_FUNCTION, MAX_FILE = 45, 300


def modules_of(layers):
    """Module names in order, without the leading `dact.`."""
    for line in layers.strip().splitlines():
        package, _, names = line.rpartition(":")
        for name in names.split():
            yield ".".join(part for part in (package, name) if part not in ("", "."))


def module_of(path):
    """Name of a file in src/, without the leading `dact.`."""
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


ORDER = list(modules_of(LAYERS))
SOURCES = {module_of(path): path for path in sorted((ROOT / "src").rglob("*.py"))}
SCRIPTS = [ROOT / "run.py", *sorted((ROOT / "scripts").rglob("*.py"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").rglob("*.py"))
ALL_FILES = [*SOURCES.values(), *SCRIPTS, *EXAMPLES]


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


@functools.cache
def imports(path):
    """Full names of the modules that a file imports, anywhere in it."""
    package = ("dact", *path.relative_to(ROOT).parent.parts[1:])
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                found.add(name if name.removeprefix("dact.") in SOURCES else base)
    return frozenset(found)


def own_imports(path):
    """Those of ours, without the leading `dact.`."""
    return {name[len("dact.") :] for name in imports(path) if name.split(".")[0] == "dact"}


def top_level(path):
    return {name.split(".")[0] for name in imports(path)}


def test_every_file_has_its_layer():
    assert len(ORDER) == len(set(ORDER))
    assert sorted(ORDER) == sorted(SOURCES)


@pytest.mark.parametrize("name", [name for name in ORDER if name in SOURCES])
def test_files_import_only_what_comes_before_them(name):
    earlier = set(ORDER[: ORDER.index(name)])
    assert own_imports(SOURCES[name]) - earlier == set()


def test_imports_of_every_kind_are_seen():
    """The test above would pass if none were."""
    assert own_imports(SOURCES["models.network"]) >= {"batch", "models.halting", "models.mac_cell"}
    assert own_imports(SOURCES["datamodules.collate"]) >= {"batch", "datamodules.questions"}
    assert own_imports(SOURCES["datamodules.mini"]) >= {"datamodules.clevr_mini"}
    assert own_imports(SOURCES["callbacks"]) >= {"checkpoint"}
    assert own_imports(ROOT / "run.py") >= {"config", "runs.job"}


def test_halting_and_the_loop_know_nothing_of_mac():
    assert own_imports(SOURCES["models.functional"]) == set()
    halting = {name for name in SOURCES if name.startswith("models.halting")}
    for name in halting:
        assert own_imports(SOURCES[name]) <= halting | {
            "models.functional",
            "models.layers",
            "models.rows",
            "options",
        }


def test_models_and_datamodules_do_not_know_each_other():
    for name, path in SOURCES.items():
        for one, other in (("models", "datamodules"), ("datamodules", "models")):
            if name.split(".")[0] == one:
                assert not any(x.split(".")[0] == other for x in own_imports(path)), name


def test_hydra_stays_at_the_edge():
    edge = ("groups", "command_line", "one_line", "records", "sweeps", "config", "hydra_app")
    allowed = {ROOT / "run.py", *(SOURCES[name] for name in edge)}
    for path in ALL_FILES:
        if path not in allowed and path.parent != ROOT / "scripts":
            assert not top_level(path) & {"hydra", "omegaconf"}, path


def test_optional_loggers_are_never_imported():
    for path in ALL_FILES:
        assert not top_level(path) & {"wandb", "comet_ml", "tensorboard"}, path


def test_the_package_is_called_dact():
    for path in [*ALL_FILES, *(ROOT / "tests").glob("*.py")]:
        assert "src" not in top_level(path), path


def test_the_package_imports_neither_its_users_nor_the_tests():
    for path in SOURCES.values():
        assert not top_level(path) & {"run", "scripts", "tests"}, path


@pytest.mark.parametrize(
    "module",
    ["dact", "dact.config", "dact.options", "dact.word_vectors", "dact.gqa_metrics", "run"],
)
def test_imports_without_torch(module):
    """What is needed to check a configuration or to complete a command starts fast."""
    code = f"import sys, {module}; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(answer.stdout.split())
    assert module in loaded
    assert not loaded & {"torch", "pytorch_lightning", "torchmetrics", "h5py"}


def test_functions_stay_short():
    too_long = []
    for path in ALL_FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = node.end_lineno - node.lineno + 1
                if length > MAX_FUNCTION:
                    too_long.append(f"{path.relative_to(ROOT)}: {node.name} has {length} lines")
    assert too_long == []


def test_files_stay_short():
    lengths = {str(path): len(path.read_text().splitlines()) for path in ALL_FILES}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_FILE} == {}
