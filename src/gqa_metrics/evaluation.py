"""All metrics that the files at hand allow."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dact.datamodules.gqa_files import shards
from dact.errors import UserError

from .accuracy import accuracies, right_answers
from .choices import fit
from .consistency import consistency, entailed_by_right
from .distribution import distribution
from .grounding import grounding, load_boxes
from .groups import GroupMean, mean_by_group
from .questions import GQAQuestions
from .sources import Given, Sources

#: Metrics in the order of the official script, each with its own definition in its own file.
METRICS = (
    *("accuracy", "binary", "open", "consistency"),
    *("validity", "plausibility", "distribution", "grounding"),
)

NONE_GIVEN = Given()


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
    given: Given = NONE_GIVEN,
) -> Evaluation:
    """Score the balanced questions of a split.

    Equal to the official script but for what is missing. There a missing file gives 0 or a stack
    trace; here the metric is left out, with a note. Consistency needs predictions for the questions
    that follow from correctly answered ones, most of them unbalanced; there every question of the
    split has to be predicted, and to be in the file that is scored; here entailed questions are
    looked up in the `*_all` split that the questions are from, so any part of a split can be
    scored. Where nothing is averaged, the result is 0 there and here, with a note.

    Args:
        questions: from `load_questions`.
        predictions: answers by question id; others than those of the split are ignored.
        attentions: (question id, attention) in any order, as `grounding` takes them.
        steps: taken by each question, if known.
        progress: show bars while long files are read.
        given: files instead of those of the official split.

    Raises:
        UserError: a balanced question has no prediction, or a file is broken.
    """
    balanced = questions.balanced
    _check_predicted(questions, predictions)
    right = right_answers(balanced, predictions)
    notes = _unknown(questions, predictions)
    found = accuracies(balanced, right)
    found["distribution"] = distribution(balanced, predictions)
    sources = Sources(questions, given, progress)
    found |= _consistency(sources, predictions, right, notes)
    found |= _fit(sources, predictions, notes)
    found |= _grounding(sources, attentions, notes)
    notes += _no_answers(questions, predictions)
    scores = _in_order(found, notes)
    groups = mean_by_group(balanced, {name: 100.0 * value for name, value in right.items()})
    by_steps = mean_by_group(balanced, steps) if steps else {}
    return Evaluation(scores, groups, by_steps, [*sources.notes, *notes])


def _check_predicted(questions: GQAQuestions, predictions: Mapping[str, str]) -> None:
    if missing := questions.balanced.keys() - predictions.keys():
        raise UserError(
            f"{len(missing):,} of {len(questions.balanced):,} balanced questions of "
            f"{questions.split} have no prediction, such as {min(missing)}"
        )


def _unknown(questions: GQAQuestions, predictions: Mapping[str, str]) -> list[str]:
    known = {other for question in questions.balanced.values() for other in question.entailed}
    unknown = sum(name not in questions.answers and name not in known for name in predictions)
    what = f"{unknown:,} predictions are for questions that {questions.split} does not need"
    return [f"{what}: ignored"] if unknown else []


def _in_order(found: Mapping[str, float | None], notes: list[str]) -> dict[str, float]:
    scores = {name: _over_none(name, found[name], notes) for name in METRICS if name in found}
    return {name: score for name, score in scores.items() if score is not None}


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
    sources: Sources,
    predictions: Mapping[str, str],
    right: Mapping[str, bool],
    notes: list[str],
) -> dict[str, float | None]:
    questions = sources.questions
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
        answers = {**answers, **sources.answers(elsewhere)}
    if missing := needed - answers.keys():
        notes.append(
            f"consistency is left out: {len(missing):,} entailed questions are not in "
            f"{questions.split} or {sources.whole()}, such as {min(missing)}"
        )
        return {}
    return {"consistency": consistency(entailed, predictions, answers)}


def _fit(
    sources: Sources, predictions: Mapping[str, str], notes: list[str]
) -> dict[str, float | None]:
    if missing := _not_there(sources.choices()):
        notes.append(f"validity and plausibility are left out: there is no {missing}")
        return {}
    choices = sources.choices_of_questions()
    return fit(sources.questions.balanced, predictions, choices)._asdict()


def _grounding(
    sources: Sources, attentions: Iterable[tuple[str, Any]] | None, notes: list[str]
) -> dict[str, float | None]:
    if attentions is None:
        notes.append("grounding is left out: no attentions were given (attentions=PATH)")
        return {}
    if missing := _not_there(sources.scenes()):
        notes.append(f"grounding is left out: there is no {missing}")
        return {}
    balanced = sources.questions.balanced
    return {"grounding": grounding(balanced, load_boxes(balanced, sources.graphs()), attentions)}


def _not_there(paths: Iterable[Path]) -> Path | None:
    """The first of these files that is not there, nor a folder of its shards."""
    return next((path for path in paths if not shards(path)), None)
