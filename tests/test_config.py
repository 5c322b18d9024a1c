"""Every configuration file composes, every experiment trains, and what cannot work is refused."""

import inspect
import math
from pathlib import Path

import hydra
import pytest
import pytorch_lightning as pl
from conftest import CONF, TINY, Program, compose, plain
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from dact import checkpoint, checks, config
from dact.errors import UserError
from dact.one_line import ends_in_one_line, one_line_errors
from dact.schema import TrainerConfig

pytestmark = pytest.mark.usefixtures("configured")

GROUPS = {
    group: sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    for group in ("data", "model", "ponder", "trainer", "logger")
}
EXPERIMENTS = sorted(
    str(path.relative_to(CONF / "experiment").with_suffix(""))
    for path in (CONF / "experiment").rglob("*.yaml")
    if path.stem != "none"
)


def test_every_file_is_reached_by_some_test():
    reached = {CONF / group / f"{name}.yaml" for group, names in GROUPS.items() for name in names}
    reached |= {CONF / "experiment" / f"{name}.yaml" for name in (*EXPERIMENTS, "none")}
    reached |= {CONF / f"{name}.yaml" for name in ("config", "script", "extract", "download")}
    reached |= set((CONF / "backbone").iterdir())  # by test_every_backbone_composes
    reached |= set((CONF / "archives").iterdir())  # by test_the_archives_are_those_of_the_dataset
    assert reached == set(CONF.rglob("*.yaml"))


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("clevr", {"clevr"}),
        ("clevr_cogent", {"clevr_cogent"}),
        ("clevr_humans", {"clevr", "humans"}),
        ("gqa", {"questions", "scene_graphs", "choices", "objects", "spatial", "images"}),
    ],
)
def test_the_archives_are_those_of_the_dataset(data, names):
    cfg = compose(f"data={data}", config_name="download")
    checks.check_download(cfg)
    assert set(cfg.archives) == names
    assert all(archive.url.startswith("https://") for archive in cfg.archives.values())


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "backbone").iterdir()))
def test_every_backbone_composes(name):
    cfg = compose(f"backbone={name}", config_name="extract")
    checks.check_extraction(cfg)
    assert cfg.backbone.name == name
    assert cfg.data.name == "clevr"


@pytest.mark.parametrize(
    "choice", [f"{group}={name}" for group, names in GROUPS.items() for name in names]
)
def test_every_choice_composes(choice):
    cfg = compose(choice)
    checks.check(cfg)
    plain(cfg)
    group, _, name = choice.partition("=")
    if group in ("data", "model"):
        assert cfg[group].name == name
    if choice == "ponder=budget":
        assert cfg.ponder.target_steps == 3
    elif group == "ponder":
        assert cfg.ponder.cost == float(name)
        assert cfg.ponder.target_steps is None
    if choice == "model=pondernet":  # its own β, unless another one is typed
        assert cfg.ponder.cost == 1e-2
        assert compose(choice, "ponder=5e-3").ponder.cost == 5e-3


def test_no_experiment_changes_nothing():
    assert compose("experiment=null") == compose("experiment=none") == compose()


def test_the_defaults_are_those_of_the_readme():
    cfg = compose()
    assert (cfg.mode, cfg.data.name, cfg.model.name, cfg.ponder.cost) == (
        "fit",
        "clevr_mini",
        "dact",
        5e-3,
    )
    assert cfg.logger._target_ == "dact.loggers.ContinuedCSVLogger"
    assert cfg.model.halting_bound == "exact"
    assert (cfg.ponder.penalty, cfg.ponder.phase, cfg.ponder.min_penalty) == ("unit", None, None)


def test_scripts_see_the_same_data():
    cfg = compose("data=clevr", "data.root=/d", config_name="script")
    assert cfg.data == compose("data=clevr", "data.root=/d").data


# The trainer's schema.


def trainer_arguments():
    parameters = inspect.signature(pl.Trainer.__init__).parameters
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if name not in ("self", "logger", "callbacks")
    }


def test_the_schema_lists_every_argument_of_the_trainer():
    ours = OmegaConf.to_container(OmegaConf.structured(TrainerConfig))
    # Lightning's own sentinel for "not given" is an object; null means the same to it.
    assert ours == trainer_arguments()


@pytest.mark.parametrize(
    "override",
    [
        "trainer.limit_train_batches=0.5",
        "trainer.limit_train_batches=3",
        "trainer.devices=2",
        "trainer.devices=[0,1]",
        "trainer.precision=bf16-mixed",
        "trainer.precision=32",
        "trainer.max_time=00:01:00:00",
        "trainer.profiler=simple",
        "trainer.deterministic=warn",
        "trainer.val_check_interval=0.25",
    ],
)
def test_any_argument_of_the_trainer_can_be_typed(override):
    name = override.partition("=")[0].removeprefix("trainer.")
    assert plain(compose(override).trainer)[name] != plain(compose().trainer)[name]


# Rows of the paper.


def rows(dataset, steps, whole, mac_epochs, act, dact):
    """Network, steps, ponder cost and epochs of every row on a dataset, by experiment."""
    macs = {f"mac{n}": ("mac", n, None, mac_epochs) for n in steps}
    gates = {f"mac{n}_gate": ("mac_gate", n, None, 30) for n in steps}
    acts = {f"act_{cost}": ("act", whole, float(cost), 30) for cost in act}
    dacts = {f"dact_{cost}": ("dact", whole, float(cost), 30) for cost in dact}
    named = {**macs, **gates, **acts, **dacts}
    return {f"{dataset}/{name}": row for name, row in named.items()}


ACT_COSTS = ("5e-5", "1e-4", "5e-4", "1e-3", "5e-3", "1e-2")
DACT_COSTS = ("1e-3", "5e-3", "1e-2", "5e-2")
EXPECTED = {
    **rows("clevr", (2, 3, 5, 9, 12), 12, 10, ACT_COSTS, ("0", *DACT_COSTS)),
    **rows("gqa", (2, 3, 4, 5, 6), 4, 5, ("0", *ACT_COSTS), DACT_COSTS),
}
#: Features and kernel of the stem.
IMPLIED = {"clevr": ("grid", 3), "gqa": ("objects", 1)}


def test_there_is_an_experiment_for_every_row():
    assert set(EXPERIMENTS) == {*EXPECTED, "few_images"}


@pytest.mark.parametrize("name", EXPECTED)
def test_experiments_have_the_recipe_of_the_paper(name):
    cfg = compose(f"experiment={name}")
    dataset = name.partition("/")[0]
    model, steps, cost, epochs = EXPECTED[name]
    features, kernel = IMPLIED[dataset]
    assert (cfg.data.name, cfg.data.features, cfg.model.name) == (dataset, features, model)
    assert (cfg.model.max_steps, cfg.trainer.max_epochs) == (steps, epochs)
    if cost is not None:
        assert (cfg.ponder.cost, cfg.ponder.penalty) == (cost, "unit")
        assert (cfg.ponder.min_penalty, cfg.ponder.phase) == (None, None)
    assert (cfg.model.dim, cfg.model.embedding_dim, cfg.model.stem_kernel) == (512, 300, kernel)
    assert (cfg.model.self_attention, cfg.model.control_init) == (False, "question")
    assert (cfg.model.epsilon, cfg.model.halting_bound) == (0.01, "exact")
    assert plain(cfg.model.gate) == {
        "inputs": ["control"],
        "hidden_dims": [],
        "bias": 1.0 if model == "mac_gate" else 0.0,
        "dropout": 0.0,
    }
    assert plain(cfg.model.dropout) == {
        "stem": 0.18,
        "question": 0.08,
        "memory": 0.15,
        "read": 0.15,
        "output": 0.15,
        "variational_memory": True,
    }
    assert (cfg.optimizer.learning_rate, cfg.optimizer.gate_learning_rate) == (1e-4, None)
    assert (cfg.optimizer.schedule, cfg.optimizer.ema_decay) == ("plateau", 0.999)
    assert (cfg.data.batch_size, cfg.trainer.gradient_clip_val) == (64, 8.0)
    assert cfg.warm_start == "auto"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains_one_batch(name, mini_root, gqa_root, shared_cache, tmp_path):
    program = Program(tmp_path, f"experiment={name}", "trainer=smoke", "warm_start=none")
    root, features = {
        "clevr": (mini_root, "state"),
        "gqa": (gqa_root, "objects"),
        "few_images": (mini_root, "state"),
    }[name.partition("/")[0]]
    finished = program(
        f"data.root={root}",
        f"data.cache_dir={shared_cache / root.name}",
        f"data.features={features}",
        *(override for override in TINY if not override.startswith(("trainer", "model.max_steps"))),
        "trainer.enable_progress_bar=false",
    )
    assert 0 <= finished.value <= 1
    (row,) = finished.validation()
    steps = checkpoint.describe(finished.checkpoint).config["model"]["max_steps"]
    assert 1 <= row["val/steps"] <= steps
    (step,) = (row for row in finished.metrics if row["train/loss"])
    assert math.isfinite(float(step["train/loss"]))
    assert finished.checkpoint["global_step"] == 1


# Refusals.


@pytest.fixture(scope="module")
def defaults():
    """The configuration of a command line without options, composed once."""
    GlobalHydra.instance().clear()
    config.register()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return compose()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mode=train", "mode=train is unknown: choose one of fit, validate, test, predict"),
        ("seed=-1", "seed=-1 is not possible"),
        ("keep_checkpoints=0", "keep_checkpoints=0 is not possible"),
        ("keep_checkpoints=-2", "keep_checkpoints=-2 is not possible"),
        ("checkpoint_every=0", "checkpoint_every=0 is not possible"),
        ("ponder.cost=-1e-3", "ponder.cost=-0.001 is not possible: it must be a number at least 0"),
        ("ponder.cost=nan", "ponder.cost=nan is not possible"),
        ("ponder.cost=inf", "ponder.cost=inf is not possible"),
        ("ponder.penalty=square", "choose one of unit, linear, exp"),
        ("ponder.phase=-1", "ponder.phase=-1"),
        ("ponder.min_penalty=nan", "ponder.min_penalty=nan"),
        ("data.fraction=0", "data.fraction=0 is not possible"),
        ("data.fraction=1.1", "data.fraction=1.1 is not possible"),
        ("data.fraction=nan", "data.fraction=nan is not possible"),
        ("data.batch_size=0", "data.batch_size=0"),
        ("data.eval_batch_size=0", "data.eval_batch_size=0"),
        ("data.num_workers=-1", "data.num_workers=-1"),
        ("model.name=mcan", "model.name=mcan is unknown"),
        ("model.control_init=zero", "choose one of question, learned"),
        ("model.halting_bound=loose", "choose one of exact, paper, probability, budget, null"),
        ("model.halting_mode=random", "choose one of deterministic, sampled"),
        ("model.halting_eps=1.5", "model.halting_eps=1.5"),
        ("model.halting_bound=budget", "needs model.halting_budget"),
        ("model.halting_budget=6", "model.halting_budget=6 is not possible"),
        ("ponder.target_steps=0.5", "it must be a number in 1..4"),
        ("ponder.target_steps=5.5", "it must be a number in 1..4"),
        ("ponder.target_rate=-1", "ponder.target_rate=-1"),
        ("model.prior=1", "model.prior=1"),
        ("model.max_steps=0", "model.max_steps=0"),
        ("model.embedding_dim=0", "model.embedding_dim=0"),
        ("model.dim=0", "model.dim=0"),
        ("model.dim=7", "model.dim=7 is odd"),
        ("model.stem_kernel=2", "model.stem_kernel=2 is even"),
        ("model.gate.inputs=[]", "model.gate.inputs is empty"),
        ("model.gate.inputs=[memory,image]", "model.gate.inputs=image is unknown"),
        ("model.gate.hidden_dims=[8,0]", "model.gate.hidden_dims=0"),
        ("model.gate.dropout=1.5", "model.gate.dropout=1.5"),
        ("model.dropout.read=-0.1", "model.dropout.read=-0.1"),
        ("model.epsilon=2", "model.epsilon=2"),
        ("optimizer.schedule=cosine", "choose one of plateau, trapezoid, constant"),
        ("optimizer.learning_rate=-1", "optimizer.learning_rate=-1"),
        ("optimizer.gate_learning_rate=nan", "optimizer.gate_learning_rate=nan"),
        ("optimizer.warmup=1.5", "optimizer.warmup=1.5"),
        ("optimizer.decay=-1", "optimizer.decay=-1"),
        ("optimizer.ema_decay=2", "optimizer.ema_decay=2"),
    ],
)
def test_what_cannot_work_is_refused(defaults, override, message):
    cfg = OmegaConf.merge(defaults, OmegaConf.from_dotlist([override]))
    with pytest.raises(UserError) as raised:
        checks.check(cfg)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["colour", "model.dimm", "model.embedding.file", "ponder.costs"])
def test_options_that_nothing_reads_are_refused(name):
    with pytest.raises(UserError, match=f"^there is no option {name}"):
        checks.check(compose(f"+{name}=8"))


def test_words_start_at_random_and_learn_unless_told_otherwise():
    assert plain(compose().model.embedding) == {"path": None, "trainable": True}
    told = ("model.embedding.path=~/a b.txt", "model.embedding.trainable=false")
    for model in GROUPS["model"]:
        cfg = compose(f"model={model}", *told)
        checks.check(cfg)
        assert plain(cfg.model.embedding) == {"path": "~/a b.txt", "trainable": False}


def test_options_of_loggers_and_generators_are_free():
    checks.check(compose("+logger.prefix=x", "+data.generate.max_hops=1"))


@pytest.mark.parametrize("model", ["mac", "mac_gate"])
@pytest.mark.parametrize("typed", ["ponder=5e-3", "ponder=3e-3", "ponder.cost=1e-4"])
def test_a_network_without_ponder_cost_refuses_one(model, typed):
    typed = [f"model={model}", typed]
    with pytest.raises(UserError, match=f"model={model} takes a fixed number of steps"):
        checks.check_typed_is_used(compose(*typed), typed)


@pytest.mark.parametrize("typed", [[], ["ponder=0"], ["ponder.cost=0"], ["ponder=0.0"]])
def test_a_network_without_ponder_cost_takes_none(typed):
    checks.check_typed_is_used(compose("model=mac", *typed), typed)


@pytest.mark.parametrize("model", ["act", "dact"])
def test_adaptive_networks_take_a_ponder_cost(model):
    checks.check_typed_is_used(compose(f"model={model}", "ponder=3e-3"), ["ponder.cost=3e-3"])


# What a limited fit is.


@pytest.mark.parametrize(
    "override",
    [
        "trainer.limit_train_batches=3",
        "trainer.limit_val_batches=0.5",
        "trainer.overfit_batches=1",
        "trainer.max_steps=10",
        "trainer.fast_dev_run=true",
        "trainer=smoke",
    ],
)
def test_a_trial_is_no_whole_fit(override):
    assert checks.is_limited(compose(override).trainer)


@pytest.mark.parametrize("override", ["trainer=cpu", "trainer.max_epochs=1", "trainer=ddp"])
def test_a_short_fit_is_a_whole_fit(override):
    assert not checks.is_limited(compose(override).trainer)


# What a mistake looks like.


@pytest.fixture
def ends(monkeypatch, capsys):
    """Compose inside `one_line_errors`, and what it says on stderr."""
    for name in ("HYDRA_FULL_ERROR", "DACT_ONE_LINE_ERRORS"):
        monkeypatch.setenv(name, "unset")
        monkeypatch.delenv(name)

    def said(argument, task=None):
        monkeypatch.setattr("sys.argv", ["run.py", argument])
        assert one_line_errors(task or (lambda: compose(argument)), CONF) == 1
        return capsys.readouterr().err

    return said


@pytest.mark.parametrize(
    ("path", "said"),
    [("~no-such-user/x", "the home that it means is unknown"), ("a" * 300, "too long")],
)
def test_a_path_that_the_system_refuses_is_one_line(ends, path, said):
    message = ends("", lambda: Path(path).expanduser().is_file())
    assert message.startswith("error: ")
    assert said in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("typed", "last"),
    [
        ("model=dakt", "there is no model=dakt: did you mean dact?"),
        ("modle=dact", "there is no option modle: did you mean mode or model?"),
        ("model.dimm=8", "there is no option model.dimm: did you mean model.dim?"),
        (
            "trainer.max_epoch=3",
            "there is no option trainer.max_epoch: did you mean trainer.max_epochs?",
        ),
        ("trainer=gpus", "there is no trainer=gpus: did you mean gpu?"),
        ("ponder=none", "there is no ponder=none: choose 0, 1e-2, 1e-3, 1e-4, 5e-2, 5e-3, "),
        ("ponder.cots=1", "there is no option ponder.cots: did you mean ponder.cost"),
        ("experiment=clevr/mac21", "there is no experiment=clevr/mac21: did you mean clevr/mac2?"),
        ("experimnt=clevr/mac2", "there is no option experimnt: did you mean experiment?"),
        ("optimiser.schedule=plateau", "did you mean optimizer.schedule?"),
    ],
)
def test_a_misspelt_name_ends_with_the_nearest_one(ends, typed, last):
    lines = ends(typed).splitlines()
    assert lines[0].startswith("error: ")
    assert last in lines[-1]


def test_a_value_of_the_wrong_type_is_named(ends):
    assert "'abc' of type 'str' could not be converted to Integer" in ends("model.dim=abc")


def test_a_mistake_is_one_line(ends):
    def task():
        raise UserError("give another folder")

    assert ends("model=dact", task) == "error: give another folder\n"


def test_a_fault_of_ours_keeps_its_traceback(ends):
    def task():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ends("model=dact", task)


def test_hydra_gets_no_word_in_on_a_mistake(ends, monkeypatch):
    @ends_in_one_line
    def task(cfg):
        raise UserError("give another folder")

    with pytest.raises(SystemExit) as ended:
        task(None)
    assert ended.value.code == "error: give another folder"
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(UserError):
        task(None)
