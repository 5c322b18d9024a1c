"""What a training starts from: a checkpoint of its own, a trained network, or word vectors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning.utilities.rank_zero import rank_zero_only

from dact import checkpoint as checkpoints
from dact import checkpoint_checks, command_line, run_folder, trackers, warm_start, word_vectors
from dact import config as configs
from dact.datamodules import Vocabulary, VQADataModule
from dact.errors import UserError
from dact.limits import Clock, TimeIsUpError
from dact.locks import Lock, tell_of_wait
from dact.models import MACNetwork
from dact.schema import Config

from .parts import load_word_vectors, mac_folder, say, set_up_process
from .place import check_place, place_of
from .processes import agreed, number_of_processes

#: Seconds between two looks at a lock.
_PATIENCE = 10.0
#: Looks after which it is said again which lock that is.
_LOOKS_A_LINE = 60


class Start(NamedTuple):
    """What a fit starts from."""

    resume_from: Path | None = None
    """A checkpoint of its own."""
    saved: dict[str, Any] | None = None
    """That checkpoint, loaded."""
    started_from: dict[str, Any] | None = None
    """Results of the MAC that it started from, as in the description of a checkpoint."""
    word_vectors: str | None = None
    """Which word vectors it started from, as in the description of a checkpoint."""


def base_vocabulary(config: Config, folder: Path, typed: Sequence[str]) -> Vocabulary | None:
    """The words and answers that a fit keeps and adds those of its training questions to.

    They are those of the network that it starts from; of a run that goes on they are its own, to
    which the same questions add nothing.

    Args:
        config: of the run.
        folder: of the run.
        typed: the user's overrides.

    Returns:
        None if all come from the training questions.

    Raises:
        UserError: nobody says which network that is, or it is none.
    """
    if not config.data.grow_vocabulary or (config.warm_start == "none" and not config.ckpt_path):
        return None
    if config.ckpt_path:
        files = run_folder.candidates(config.ckpt_path, folder, configs.name_of(config))
        _, saved = checkpoints.load_first_whole(files)
    elif config.warm_start == "auto":
        raise UserError(_what_to_train_first(config, typed))
    else:
        saved = checkpoints.load(Path(config.warm_start).expanduser())
    return Vocabulary.from_dict(checkpoints.describe(saved).vocabulary)


def _what_to_train_first(config: Config, typed: Sequence[str]) -> str:
    """What to say of a run whose vocabulary grows, but from nothing."""
    first = config.data.trained_first
    if first is None:
        return "data.grow_vocabulary=true goes on from a trained network: give warm_start=PATH"
    arguments = configs.mac_overrides(config, typed)
    return (
        f"data={config.data.name} goes on from a network trained on {first}: train it with "
        f"`python run.py {command_line.for_shell(arguments)}`, then give warm_start=PATH, its "
        "checkpoints/last.ckpt; or give warm_start=none"
    )


def find_start(
    config: Config,
    folder: Path,
    typed: Sequence[str],
    data: VQADataModule,
    network: MACNetwork,
    train: Callable[[Config, Path, Sequence[str]], Any],
    clock: Clock,
) -> Start:
    """Load what a fit starts from, or find what it goes on from.

    Word vectors are read only where nothing else gives the weights: a checkpoint of this run and
    a trained MAC bring their own, which were trained since.

    Args:
        config: of the run.
        folder: of the run.
        typed: the user's overrides, which a MAC that has to be trained first shares.
        data: set up.
        network: gets the weights, unless Lightning is to load them.
        train: trains a network, given its configuration, folder and overrides.
        clock: of this start of the program.

    Raises:
        TimeIsUpError: the time is used up by the MAC.
    """
    if config.ckpt_path and not run_folder.stopped_before_its_own_training(folder):
        return _resume(config, folder, data, network)
    given = config.model.embedding.path
    vectors = word_vectors.identity(given) if given else None
    afresh = ("none", "auto") if config.model.name == "mac" else ("none",)
    if config.warm_start not in afresh:
        path = Path(config.warm_start).expanduser()
        if config.warm_start == "auto":
            place = mac_folder(config, data, vectors)
            path = _cached_mac(place, config, folder, typed, train)
            if agreed(clock.is_over):
                raise TimeIsUpError
            set_up_process(config)  # as if no other training had been there
        mac = _load_trained(path, config, network, data, vectors)
        return Start(started_from=mac, word_vectors=vectors)
    if given:
        load_word_vectors(network, given, data.vocabulary)
    return Start(word_vectors=vectors)


def _resume(config: Config, folder: Path, data: VQADataModule, network: MACNetwork) -> Start:
    """Find the newest whole checkpoint; Lightning loads it."""
    files = run_folder.candidates(config.ckpt_path, folder, configs.name_of(config))
    path, saved = checkpoints.load_first_whole(files)
    checkpoint_checks.check_resumable(
        saved, asdict(config), network, data.vocabulary, source=str(path)
    )
    place = place_of(saved)
    check_place(place, config.trainer, data, number_of_processes(), source=path)
    known = checkpoints.describe(saved)
    checkpoint_checks.check_features(known, data.store.made_by, path)
    _check_word_vectors(config.model.embedding.path, known.word_vectors, source=path)
    say(f"going on from {path}")
    return Start(path, saved, known.started_from, known.word_vectors)


def _check_word_vectors(path: str | None, known: str | None, *, source: Path) -> None:
    """Refuse other word vectors than a run began with; their file may be anywhere, or gone."""
    if not path or (known and not Path(path).expanduser().exists()):
        return
    if known is None or word_vectors.identity(path) != known:
        raise UserError(
            f"{source} did not begin with the word vectors in {path}: leave "
            "model.embedding.path out, or start a run of its own without ckpt_path"
        )


def _load_trained(
    path: Path, config: Config, network: MACNetwork, data: VQADataModule, vectors: str | None
) -> dict[str, Any] | None:
    """Load a trained network; returns its results by group, in plain containers, if it is a MAC of
    these very questions, with which this one can be compared.
    """
    grows = config.data.grow_vocabulary
    own = config.model.name if grows else None
    start = warm_start.load_into(
        network, path, data.vocabulary, grown_for=own, made_by=data.store.made_by
    )
    accuracy = start.results.get("all")
    known = f"{100 * accuracy.accuracy:.1f} % on validation" if accuracy else "unknown accuracy"
    say(f"starting from the {start.model.replace('mac', 'MAC')} in {path} ({known})")
    if grows:
        words, answers = (
            len(getattr(data.vocabulary, kind)) - len(start.vocabulary[kind])
            for kind in ("words", "answers")
        )
        say(f"its vocabulary grows by {words:,} words and {answers:,} answers")
    if vectors not in (None, start.word_vectors):
        say("its words, which are not those of model.embedding.path, stay as they are")
    return None if grows else {name: list(means) for name, means in start.results.items()}


def _cached_mac(
    place: Path,
    config: Config,
    folder: Path,
    typed: Sequence[str],
    train: Callable[[Config, Path, Sequence[str]], Any],
) -> Path:
    """The checkpoint of the MAC that is kept in `place`, trained first where that is quick.

    Of several runs that miss the same MAC one trains it, and the others wait.
    """
    found = agreed(warm_start.find(place))
    if found is not None:
        return found.path
    arguments = configs.mac_overrides(config, typed)
    if config.data.generate is None:
        raise UserError(
            f"no trained MAC to start from in {place}: train it with "
            f"`python run.py {command_line.for_shell(arguments)}`, "
            "or give warm_start=PATH or warm_start=none"
        )
    with _only_trainer(place):
        found = agreed(warm_start.find(place))
        if found is not None:
            return found.path
        say("no trained MAC yet: training it first")
        mac_run = folder / run_folder.WARM_START
        mac_run.mkdir(exist_ok=True)
        begun = agreed(bool(run_folder.checkpoints_in(mac_run)))
        own = ["ckpt_path=last"] if begun else []
        with trackers.nameless():
            mac = configs.compose([*arguments, *own])
            if not config.data.grow_vocabulary:  # else it is of other data
                mac = replace(mac, data=config.data)  # also what no override says
            train(mac, mac_run, arguments)
        found = agreed(warm_start.find(place))
        # Those of a limited run are not kept for others.
        trial = agreed(run_folder.checkpoints_in(mac_run))
    if found is None and not trial:
        raise UserError("the trial of a MAC left nothing to start from: give warm_start=none")
    return found.path if found else trial[0]


@contextmanager
def _only_trainer(place: Path) -> Iterator[None]:
    """Hold, for all processes of the run, the right to train the MAC of `place`."""
    place.mkdir(parents=True, exist_ok=True)
    lock = Lock(place / "training.lock", "data.cache_dir=PATH")
    looks = 0
    while not agreed(_taken(lock)):
        if looks == 0:
            say(f"another run is training the MAC for {place}: waiting for it")
        if looks % _LOOKS_A_LINE == 0 and rank_zero_only.rank == 0:
            tell_of_wait(lock)
        looks += 1
    try:
        yield
    finally:
        lock.release()


def _taken(lock: Lock) -> bool:
    """Wait for a lock, but not for so long that other processes give this one up."""
    return rank_zero_only.rank == 0 and lock.acquire(_PATIENCE)
