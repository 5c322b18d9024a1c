"""Questions as CLEVR's own generator writes them, and what is said of other forms."""

import json

import pytest
from clevr_files import make_questions, make_scene, ready, write_clevr, write_questions

from dact.datamodules.clevr import QUESTION_TYPES, read_clevr_questions
from dact.datamodules.gqa_questions import read_gqa_questions
from dact.datamodules.json_stream import answer_text
from dact.datamodules.scene_states import pack_scene_states
from dact.errors import UserError
from dact.explain.report import find_families
from dact.explain.survey import Survey
from dact.gqa_metrics.evaluation import _no_answers
from dact.gqa_metrics.questions import GQAQuestions


def generated(count=12):
    """Questions of three template files, in each of which numbers begin anew."""
    kinds = (
        ("zero_hop.json", 0, 1, "count"),
        ("compare_integer.json", 0, True, "exist"),
        ("one_hop.json", 0, "red", "query_color"),
        ("one_hop.json", 1, False, "exist"),
    )
    questions = make_questions("train", count, 1)
    for number, question in enumerate(questions):
        template, family, answer, last = kinds[number % len(kinds)]
        question |= {"template_filename": template, "question_family_index": family}
        question |= {"answer": answer, "program": [{"type": "scene"}, {"type": last}]}
        questions[number] = question
    return questions


def test_answers_types_and_families_are_read(tmp_path):
    found = list(read_clevr_questions(write_questions(tmp_path, "train", generated(4))))
    assert [one.answer for one in found] == ["1", "yes", "red", "no"]
    names = [QUESTION_TYPES[one.question_type] for one in found]
    assert names == ["count", "exist", "query_attribute", "exist"]
    families = ["zero_hop 0", "compare_integer 0", "one_hop 0", "one_hop 1"]
    assert [one.family_name for one in found] == families


@pytest.mark.parametrize("answer", [1.5, [], {}])
def test_an_answer_of_another_kind_says_what_to_write(answer):
    with pytest.raises(UserError, match=r"field .answer. is .*\(a whole number, true or false are"):
        answer_text({"answer": answer}, "q.json: question 0")


def test_families_of_several_template_files_stay_apart_to_the_report(tmp_path):
    root = write_clevr(tmp_path, train=(12, 1))
    write_questions(root, "train", generated())
    module = ready(root)
    questions = module.dataset("train").questions
    assert questions.families.tolist() == [0, 1, 2, 3] * 3
    assert questions.answers[:4].tolist() == [0, 1, 2, 3]
    families = questions.families
    found = Survey(*[families * 0] * 3, families * 0 + 1, *[families * 0] * 3, families)
    labels = {family.label for family in find_families(found, module, "train", 2)}
    assert labels == {"zero_hop 0", "compare_integer 0", "one_hop 0", "one_hop 1"}


def test_families_with_numbers_of_their_own_keep_them(tmp_path):
    questions = ready(write_clevr(tmp_path)).dataset("train").questions
    assert questions.families[:5].tolist() == [0, 1, 2, 3, 4]
    assert questions.family_names[34] == "34"


def test_gqas_format_reads_the_same_answers(tmp_path):
    entry = {"question": "Is it red?", "imageId": "1"}
    content = {str(n): entry | {"answer": answer} for n, answer in enumerate((True, False, 3, "a"))}
    (tmp_path / "q.json").write_text(json.dumps(content))
    answers = [question.answer for question in read_gqa_questions(tmp_path / "q.json")]
    assert answers == ["yes", "no", "3", "a"]


@pytest.mark.parametrize(
    ("missing", "meaning"),
    [
        ("image_index", "the row of its image in features"),
        ("image_filename", "the name of its image"),
        ("question", "its text"),
        ("question_index", "the number of the question"),
    ],
)
def test_a_missing_field_says_what_it_is_for(tmp_path, missing, meaning):
    questions = make_questions("val", 2, 1)
    del questions[0][missing]
    path = write_questions(tmp_path, "val", questions)
    with pytest.raises(UserError, match=rf"'{missing}', .*\({meaning}.*docs/formats.md"):
        list(read_clevr_questions(path))


@pytest.mark.parametrize("content", [[{"question": "?"}], {"data": []}, {"questions": []}, {}])
@pytest.mark.faults(
    "a questions or scenes file of another form",
    tried="a list, another name, nothing in it",
    happened="one line shows the form",
)
def test_a_file_of_another_form_is_shown_the_right_one(tmp_path, content):
    (tmp_path / "q.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r'should be an object \{"questions": \[\{…\}, …\]\}'):
        list(read_clevr_questions(tmp_path / "q.json"))
    with pytest.raises(UserError, match=r'should be an object \{"scenes": \[\{…\}, …\]\}'):
        pack_scene_states(tmp_path / "q.json", tmp_path / "out.h5")


def test_an_unknown_attribute_says_which_there_are(tmp_path):
    scene = make_scene(0, 1)
    scene["objects"][0]["shape"] = "cone"
    (tmp_path / "s.json").write_text(json.dumps({"scenes": [scene]}))
    with pytest.raises(UserError, match="unknown shape 'cone': choose one of cube, sphere, cyl"):
        pack_scene_states(tmp_path / "s.json", tmp_path / "out.h5")


def test_predictions_that_are_no_answers_are_counted(tmp_path):
    names = dict.fromkeys("abcd")
    questions = GQAQuestions(tmp_path, "val_all", names, {"a": "yes", "b": "cube", "c": "no"})
    predictions = {"a": "Yes.", "b": "a red cube", "c": "no", "d": "yes"}
    (note,) = _no_answers(questions, predictions)
    assert note.startswith("2 of 4 predictions are no answer to any question of val_all, such as")
    assert note.endswith("; 1 are one in small letters, without the signs around them")
    assert _no_answers(questions, {**predictions, "a": "yes", "b": "no"}) == []
