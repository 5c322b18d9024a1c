"""All metrics that the files at hand allow."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dact.datamodules.gqa_files import choices_path, pairs, scenes_path, shards
from dact.errors import UserError

from .accuracy import accuracies, right_answers
from .choices import fit
from .consistency import consistency, entailed_by_right
from .distribution import distribution
from .grounding import grounding, load_boxes
from .groups import GroupMean, mean_by_group
from .questions import GQAQuestions, find_answers

#: Metrics in the order of the official script, each with its own definition in its own file.
METRICS = (
    *("accuracy", "binary", "open", "consistency"),
    *("validity", "plausibility", "distribution", "grounding"),
)


class Evaluation(NamedTuple):
    """Results on the official scale."""

    scores: dict[str, float]
    """By metric, in the order of `METRICS`; one that cannot be computed is not there."""
    groups: dict[str, dict[str, GroupMean]]
    """Accuracy in 0..100 by the groups of `mean_by_group`."""
    steps: dict[str, dict[str, GroupMean]]
    """Mean steps by the same groups; empty if nothing is known of steps."""
    notes: list[str]
    """One line on each metric that is left out, and on whatever else was not as usual."""

    def to_dict(self) -> dict[str, Any]:
        """Scores, and by grouping and group [mean, number of questions]; JSON can hold it."""
        steps = {f"steps_{name}": members for name, members in self.steps.items()}
        groups = {
            name: {group: list(entry) for group, entry in members.items()}
            for name, members in (self.groups | steps).items()
        }
        return {**self.scores, **groups}


def evaluate(
    questions: GQAQuestions,
    predictions: Mapping[str, str],
    attentions: Iterable[tuple[str, Any]] | None = None,
    steps: Mapping[str, float] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Score the balanced questions of a split.

    Equal to the official script but for what is missing. There a missing file gives 0 or a stack
    trace; here the metric is left out, with a note. Consistency needs predictions for the questions
    that follow from correctly answered ones, most of them unbalanced; there every question of the
    split has to be predicted. There the entailed questions have to be in the file that is scored;
    here those of a `*_balanced` split are looked up in the `*_all` split beside it, so both splits
    give the same number. Where nothing is averaged, the result is 0 there and here, with a note.

    Args:
        questions: from `load_questions`.
        predictions: answers by question id; others than those of the split are ignored.
        attentions: (question id, attention) in any order, as `grounding` takes them.
        steps: taken by each question, if known.
        progress: show bars while long files are read.

    Raises:
        UserError: a balanced question has no prediction, or a file is broken.
    """
    balanced = questions.balanced
    if missing := balanced.keys() - predictions.keys():
        raise UserError(
            f"{len(missing):,} of {len(balanced):,} balanced questions of {questions.split} have "
            f"no prediction, such as {min(missing)}"
        )
    right = right_answers(balanced, predictions)
    notes = _unknown(questions, predictions)
    found = accuracies(balanced, right)
    found["distribution"] = distribution(balanced, predictions)
    found |= _consistency(questions, predictions, right, notes, progress)
    found |= _fit(questions, predictions, notes, progress)
    found |= _grounding(questions, attentions, notes, progress)
    notes += _no_answers(questions, predictions)
    scores = {name: _over_none(name, found[name], notes) for name in METRICS if name in found}
    scores = {name: score for name, score in scores.items() if score is not None}
    groups = mean_by_group(balanced, {name: 100.0 * value for name, value in right.items()})
    of_steps = mean_by_group(balanced, steps) if steps else {}
    return Evaluation(scores, groups, of_steps, notes)


def _unknown(questions: GQAQuestions, predictions: Mapping[str, str]) -> list[str]:
    known = {other for question in questions.balanced.values() for other in question.entailed}
    unknown = sum(name not in questions.answers and name not in known for name in predictions)
    what = f"{unknown:,} predictions are for questions that {questions.split} does not need"
    return [f"{what}: ignored"] if unknown else []


def _no_answers(questions: GQAQuestions, predictions: Mapping[str, str]) -> list[str]:
    """A note on predictions that cannot be right whatever the question is."""
    known = set(questions.answers.values())
    others = [predictions[name] for name in questions.balanced if predictions[name] not in known]
    if not others:
        return []
    note = (
        f"{len(others):,} of {len(questions.balanced):,} predictions are no answer to any question "
        f"of {questions.split}, such as {others[0]!r:.80}: an answer is right only if it is the "
        "same text"
    )
    plain = sum(text.strip().strip(".!?,;:\"'").strip().lower() in known for text in others)
    if plain:
        note += f"; {plain:,} are one in small letters, without the signs around them"
    return [note]


def _over_none(name: str, score: float | None, notes: list[str]) -> float | None:
    """0 for a mean over nothing, as in the official script, which divides by it once."""
    if score is not None:
        return score
    if name == "distribution":
        notes.append("distribution is left out: no question has a global group")
        return None
    notes.append(f"{name} is 0 because it is a mean over no questions")
    return 0.0


def _consistency(
    questions: GQAQuestions,
    predictions: Mapping[str, str],
    right: Mapping[str, bool],
    notes: list[str],
    progress: bool,
) -> dict[str, float | None]:
    entailed = entailed_by_right(questions.balanced, right)
    needed = {other for others in entailed.values() for other in others}
    if missing := needed - predictions.keys():
        notes.append(
            f"consistency is left out: {len(missing):,} entailed questions have no prediction, "
            f"such as {min(missing)}; predict the *_all split"
        )
        return {}
    answers = questions.answers
    if elsewhere := needed - answers.keys():
        answers = {**answers, **_answers_of_all(questions, elsewhere, progress)}
    if missing := needed - answers.keys():
        notes.append(
            f"consistency is left out: {len(missing):,} entailed questions are not in "
            f"{questions.split} or its *_all split, such as {min(missing)}"
        )
        return {}
    return {"consistency": consistency(entailed, predictions, answers)}


def _answers_of_all(questions: GQAQuestions, wanted: set[str], progress: bool) -> dict[str, str]:
    whole = questions.split.replace("balanced", "all")
    path = questions.root / "questions" / f"{whole}_questions.json"
    if whole == questions.split or not shards(path):
        return {}
    return find_answers(questions.root, whole, wanted, progress)


def _fit(
    questions: GQAQuestions, predictions: Mapping[str, str], notes: list[str], progress: bool
) -> dict[str, float | None]:
    path = choices_path(questions.root, questions.split)
    files = shards(path)
    if not files:
        notes.append(f"validity and plausibility are left out: there is no {path}")
        return {}
    return fit(questions.balanced, predictions, pairs(files, progress))._asdict()


def _grounding(
    questions: GQAQuestions,
    attentions: Iterable[tuple[str, Any]] | None,
    notes: list[str],
    progress: bool,
) -> dict[str, float | None]:
    path = scenes_path(questions.root, questions.split)
    files = shards(path)
    if attentions is None or not files:
        given = attentions is not None
        reason = f"there is no {path}" if given else "no attentions were given (attentions=PATH)"
        notes.append(f"grounding is left out: {reason}")
        return {}
    boxes = load_boxes(questions.balanced, pairs(files, progress))
    return {"grounding": grounding(questions.balanced, boxes, attentions)}
