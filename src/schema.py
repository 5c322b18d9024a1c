"""Types of the configuration; the values are in `conf/`.

Plain dataclasses, so that configurations can be checked without loading PyTorch.
"""

from dataclasses import dataclass, field
from typing import Any

from dact.options import (
    ArchiveOptions,
    BackboneOptions,
    DropoutOptions,
    NetworkOptions,
    PonderOptions,
)

#: OmegaConf's mark of a value that a file of conf/ must give.
MISSING: Any = "???"

MODES = ("fit", "validate", "test", "predict")
SCHEDULES = ("plateau", "trapezoid", "constant")
COMPILE_MODES = (None, "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


@dataclass
class FitRecipe:
    """How long and how fast one kind of network is trained."""

    epochs: int = MISSING
    learning_rate: float = MISSING
    schedule: str = MISSING
    """plateau: halved when validation accuracy stalls; trapezoid: warm-up, hold, decay."""
    decay: float = 0.7
    """trapezoid: share of all steps, at the end, with a falling rate."""
    gradient_clip: float = 8.0
    """Largest norm of a step's gradient."""


@dataclass
class ImpliedNetwork:
    """Sizes of network that a dataset implies; `model` takes them by interpolation."""

    dim: int = MISSING
    max_steps: int = MISSING
    embedding_dim: int = MISSING
    embedding_init: str = MISSING
    feature_scale: float = MISSING
    halting_bias: float = MISSING
    """`gate.bias` of act and dact."""
    step_loss: float = 0.0
    """`step_loss` of act, dact and pondernet."""
    stem_kernel: int = MISSING
    dropout: DropoutOptions = field(default_factory=DropoutOptions)


@dataclass
class GenerateOptions:
    """What a dataset that is made on first use consists of."""

    seed: int = 0
    images: dict[str, int] = MISSING
    """Number by split."""
    questions_per_image: int = MISSING
    mix: dict[str, float] | None = None
    """clevr_mini, gqa_mini: weight of each group of questions."""
    max_hops: int | None = None
    """clevr_mini: longest chain of relations, 0..3; groups with longer ones are left out."""
    objects: list[int] | None = None
    """clevr_mini: fewest and most objects of a scene, 1..10."""
    max_depth: int | None = None
    """clevr_depth: largest distance between what is named and what is asked, 0..5."""
    drawings: int | None = None
    """clevr_mini, clevr_depth: how many of the first images of val are drawn."""
    rows: int | None = None
    """gqa_mini: rows of an image's object features."""
    feature_dim: int | None = None
    """gqa_mini: length of a row."""
    shards: int | None = None
    """gqa_mini: files that the features are spread over."""


@dataclass
class DataConfig:
    """One dataset: where it is, how it is served, and the defaults it implies."""

    name: str = MISSING
    root: str = MISSING
    cache_dir: str | None = None
    """Preprocessed files; null: `<root>/.dact`."""
    features: str = MISSING
    """CLEVR family: state or grid; GQA: objects or spatial."""
    background: bool | None = None
    """features=state: whether scenes have one more row, the same in all; null: the dataset has no
    such option."""
    feature_dataset: str | None = None
    """CLEVR family, grid: dataset with the features in their HDF5 files; null: `data`, or the only
    one that can be."""
    feature_axes: str | None = None
    """CLEVR family, grid: order of the axes of that dataset, nchw, nhwc, ntc or nct; null: as its
    attribute `axes` says, else nchw or ntc."""
    tokenizer: str = "treebank"
    """What cuts questions into words: treebank, unicode, or `package.module:function`."""
    grow_vocabulary: bool = False
    """Whether a fit starts from a network trained on other questions: its words and answers keep
    their ids, and those that only these questions have come after them."""
    trained_first: str | None = None
    """With grow_vocabulary: the dataset that such a network is trained on; null: any."""
    train_split: str | None = None
    """Null: the dataset's own."""
    val_split: str | None = None
    """Null: the dataset's own."""
    split: str | None = None
    """For validate, test and predict; null: the mode's own."""
    fraction: float = 1.0
    """Share of the training images, in (0, 1]."""
    batch_size: int = 64
    eval_batch_size: int = 256
    num_workers: int = 0
    group_by_length: bool = False
    """Train on batches of questions of similar length, which saves padding."""
    missing_images: str = "refuse"
    """Questions about images that have no features: refuse, or skip to leave them out."""
    questions_per_image: int = 1
    """Train on batches with so many questions about an image, which saves work on images."""
    threads: int | None = None
    """Threads that pay off for batches of this size; null: all."""
    generate: GenerateOptions | None = None
    """A dataset that is made on first use; null for one that is not."""
    network: ImpliedNetwork = field(default_factory=ImpliedNetwork)
    mac: FitRecipe = field(default_factory=FitRecipe)
    """Recipe of a plain MAC from scratch."""
    adaptive: FitRecipe = field(default_factory=FitRecipe)
    """Recipe of a gated or adaptive network that starts from a trained MAC."""


@dataclass
class ModelConfig(NetworkOptions):
    """The network and the recipe that it is trained by."""

    compile: bool = False
    """Whether PyTorch compiles the parts of the network."""
    compile_mode: str | None = None
    """Of torch.compile; null: its default."""
    recipe: FitRecipe = field(default_factory=FitRecipe)


@dataclass
class OptimizerConfig:
    """Adam, its schedule and the weight average."""

    learning_rate: float = MISSING
    gate_learning_rate: float | None = None
    """Own rate of the memory gate or halting unit; null: the same."""
    schedule: str = MISSING
    warmup: float = 0.05
    """trapezoid: share of all steps with a rising rate."""
    decay: float = MISSING
    """trapezoid: share of all steps, at the end, with a falling rate."""
    ema_decay: float = 0.999
    """Decay of the weight average per optimizer step."""


@dataclass
class TrainerConfig:
    """Every argument of Lightning's Trainer but those that run.py builds: logger and callbacks."""

    accelerator: Any = "auto"
    strategy: Any = "auto"
    devices: Any = "auto"
    num_nodes: int = 1
    precision: Any = None
    fast_dev_run: Any = False
    max_epochs: int | None = None
    min_epochs: int | None = None
    max_steps: int = -1
    min_steps: int | None = None
    max_time: Any = None
    limit_train_batches: Any = None
    limit_val_batches: Any = None
    limit_test_batches: Any = None
    limit_predict_batches: Any = None
    overfit_batches: Any = 0.0
    val_check_interval: Any = None
    check_val_every_n_epoch: int | None = 1
    num_sanity_val_steps: int | None = None
    log_every_n_steps: int | None = None
    enable_checkpointing: bool | None = None
    enable_progress_bar: bool | None = None
    enable_model_summary: bool | None = None
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = None
    deterministic: Any = None
    benchmark: bool | None = None
    inference_mode: bool = True
    use_distributed_sampler: bool = True
    profiler: Any = None
    detect_anomaly: bool = False
    barebones: bool = False
    plugins: Any = None
    sync_batchnorm: bool = False
    reload_dataloaders_every_n_epochs: int = 0
    default_root_dir: str | None = None
    enable_autolog_hparams: bool = True
    model_registry: str | None = None


@dataclass
class Config:
    """The whole configuration; `conf/config.yaml` is its table of contents."""

    mode: str = "fit"
    seed: int = 0
    ckpt_path: str | None = None
    """A checkpoint, or `last`: to resume from (fit) or to evaluate."""
    threads: int | None = None
    """CPU threads that PyTorch uses; null: its own choice."""
    warm_start: str = "auto"
    """auto, none, or a checkpoint: the trained MAC that gated and adaptive networks start from, or
    with data.grow_vocabulary the trained network that any starts from."""
    checkpoint_every: int | None = None
    """Training steps between checkpoints, besides one per epoch; null: none besides."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints stay; -1: all."""
    predictions: str | None = None
    """Where mode=predict writes; null: predictions.jsonl in the run folder."""
    attentions: str | None = None
    """GQA: where the official attention file for grounding is written; null: if it is needed."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    ponder: PonderOptions = field(default_factory=PonderOptions)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: dict[str, Any] | None = None


@dataclass
class ExtractionConfig:
    """What `scripts/extract_features.py` takes; the values are in `conf/extract.yaml`."""

    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneOptions = field(default_factory=BackboneOptions)
    splits: Any = None
    """A name, a list of names, or None for all there are."""
    output_dir: str | None = None
    dtype: str = "float16"
    batch_size: int = 64
    num_workers: int = 4
    devices: Any = "auto"
    skip_unreadable: bool = False
    overwrite: bool = False


@dataclass
class DownloadConfig:
    """What `scripts/download.py` takes; the values are in `conf/download.yaml`."""

    data: DataConfig = field(default_factory=DataConfig)
    archives: dict[str, ArchiveOptions] = field(default_factory=dict)
    images: bool = False
    retries: int = 5
    timeout: float = 60.0
    keep_archives: bool = False
