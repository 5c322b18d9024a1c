"""What cuts questions into words: by name, in caches and in checkpoints."""

import sys
import warnings

import pytest
from clevr_files import make_questions, ready, times_of, write_clevr, write_questions
from conftest import TINY, Program

from dact import checkpoint as checkpoints
from dact import checkpoint_checks
from dact.datamodules.tokenizers import TREEBANK, load_tokenizer, tokenize, unicode_words
from dact.datamodules.vocabulary import Vocabulary, VocabularyBuilder
from dact.errors import UserError
from dact.runs.explain import report_of_checkpoint
from dact.runs.restore import open_data, restore

CUT = {
    "红色的球左边有东西吗？": ["红", "色", "的", "球", "左", "边", "有", "东", "西", "吗", "?"],
    "How many cubes，please？": ["How", "many", "cubes", ",", "please", "?"],
    "¿Cuántos cubos hay?": ["¿", "Cuántos", "cubos", "hay", "?"],
    "كم عدد المكعبات؟": ["كم", "عدد", "المكعبات", "؟"],
    "What is this…?": ["What", "is", "this", ".", ".", ".", "?"],
    "몇 개의 큐브가 있습니까?": ["몇", "개의", "큐브가", "있습니까", "?"],
    "हिन्दी में कितने": ["हिन्दी", "में", "कितने"],
    "Are there 3.5 x-rays?": ["Are", "there", "3.5", "x", "-", "rays", "?"],
    " \u3000 ": [],
}


@pytest.mark.parametrize("text", CUT)
def test_words_of_any_script(text):
    assert unicode_words(text) == CUT[text]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Combien d’objets ?", "Combien d'objets ?"),
        ("\u00e9t\u00e9", "e\u0301te\u0301"),
        ("ｃｕｂｅ", "cube"),
    ],
)
def test_two_forms_of_one_text_have_the_same_words(one, other):
    assert unicode_words(one) == unicode_words(other)


def test_thai_and_japanese_questions_have_several_words():
    for text in ("ลูกบาศก์สีแดงมีกี่ลูก", "赤い球は左にありますか。"):
        words = unicode_words(text)
        assert len(words) > 8
        assert "".join(words) == text


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of one's own in the current folder; a name for each test, since it stays loaded."""
    name = f"own_{abs(hash(tmp_path))}"
    path = tmp_path / f"{name}.py"
    path.write_text(
        "def pairs(text): return [text[i:i + 2] for i in range(0, len(text), 2)]\n"
        "def text(text): return text\n"
        "def numbers(text): return [1, 2]\n"
        "def fails(text): raise KeyError(text)\n"
        "def ends(text): raise SystemExit(3)\n"
        "def seldom(text): return text.split() if 'things' in text else None\n"
        "value = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return path


WRONG = {
    "text": r"makes 'How many.*it must return a list of words",
    "numbers": r"makes \[1, 2\] of .*it must return a list of words",
    "fails": "fails on 'How many things are there.': KeyError",
    "ends": "fails on 'How many things are there.': SystemExit: 3",
    "value": "is no function but 3",
    "missing": "cannot be imported .*has no attribute 'missing'",
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.faults(
    "a tokenizer of one's own that is none",
    tried="raises, ends the program, returns a text or numbers, is no function, is not there",
    happened="one line",
)
def test_a_function_that_cuts_nothing_is_one_line(module, name):
    with pytest.raises(UserError, match=WRONG[name]) as raised:
        load_tokenizer(f"{module.stem}:{name}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["nltk", "a:", ":b", "a b:c", "a:b:c", "own.__main__:cut", ""])
def test_a_name_of_another_form_is_refused_unread(name):
    with pytest.raises(UserError, match="choose treebank, unicode, or a function"):
        load_tokenizer(name)


def test_a_module_that_is_not_there_says_where_it_is_looked_for():
    with pytest.raises(UserError, match=r"No module named .*current folder or one of PYTHONPATH"):
        load_tokenizer("no_such_module:cut")


def test_a_function_that_fails_later_is_one_line_too(module):
    with pytest.raises(UserError, match="makes None of 'Is it red"):
        load_tokenizer(f"{module.stem}:seldom")("Is it red?")


def grown(tokenizer, text="Is d’or here?"):
    builder = VocabularyBuilder(tokenizer=tokenizer)
    builder.encode(builder.words_of(text))
    return builder.finish()


def test_a_vocabulary_keeps_its_tokenizer_and_the_usual_one_leaves_no_trace():
    usual = grown(TREEBANK)
    assert set(usual.to_dict()) == {"words", "answers", "lowercase"}
    known = Vocabulary.from_dict(grown("unicode").to_dict())
    assert known.words_of("d’or") == ["d'or"]
    assert usual.words_of("d’or") == tokenize("d’or") != ["d'or"]
    assert known.fingerprint != Vocabulary(known.words, {}).fingerprint
    assert not known.extends(Vocabulary(known.words, {}))


@pytest.mark.parametrize("entry", [{"tokenizer": 3}, {"tokenizer": "os"}, {"code": None}])
def test_a_stored_tokenizer_that_is_none_is_refused(entry):
    with pytest.raises(UserError):
        Vocabulary.from_dict({"words": {}, "answers": {}, "lowercase": False, **entry})


def test_a_function_that_has_changed_since_is_told(module):
    known = grown(f"{module.stem}:pairs").to_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Vocabulary.from_dict(known).words_of("abcde") == ["ab", "cd", "e"]
    module.write_text(module.read_text() + "# another line\n")
    with pytest.warns(UserWarning, match="has changed since these words were collected"):
        Vocabulary.from_dict(known).words_of("abcde")


def test_each_tokenizer_has_its_own_cache_and_the_usual_one_that_of_before(tmp_path, module):
    root = write_clevr(tmp_path / "root")
    usual = ready(root)
    before = times_of(root / ".dact")
    own = f"{module.stem}:pairs"
    for name in ("unicode", own):
        data = ready(root, tokenizer=name)
        assert data.vocabulary.tokenizer == name
        assert data.fingerprint != usual.fingerprint
    assert "re" in data.vocabulary
    module.write_text(module.read_text().replace("text[i:i + 2]", "text[i:i + 2].upper()"))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(UserError, match=rf"would be run: .* data\.tokenizer={own}, or --tok"):
        ready(root, "validate", vocabulary=data.vocabulary)
    assert ready(root, "validate", vocabulary=data.vocabulary, tokenizer=own).tokenizer == own
    vocabulary = ready(root, tokenizer="unicode").vocabulary
    given = ready(root, "validate", vocabulary=vocabulary)
    assert given.tokenizer == "unicode"
    for options in ({"vocabulary": vocabulary}, {"base": vocabulary}):
        with pytest.raises(UserError, match=r"trained with unicode: give data\.tokenizer=unic"):
            ready(root, tokenizer=own, **options)


@pytest.mark.slow
@pytest.mark.usefixtures("configured")
def test_a_checkpoint_alone_runs_no_function(tmp_path, module):
    """Whoever uses it names the function again; until then its module is not imported."""
    root = write_clevr(tmp_path / "root", train=(8, 4), val=(4, 2))
    own = f"{module.stem}:pairs"
    data = ["data=clevr", f"data.root={root}", "data.features=state", *TINY, "warm_start=none"]
    last = Program(tmp_path, *data)("model=mac", f"data.tokenizer={own}").last
    del sys.modules[module.stem]
    evaluate = Program(tmp_path, *data[:2], "trainer=smoke", "mode=validate", f"ckpt_path={last}")
    ways = {
        "validate": lambda: evaluate(),
        "report": lambda: report_of_checkpoint(last, accelerator="cpu"),
        "questions": lambda: restore(last).checked_vocabulary,
        "data": lambda: open_data(restore(last)),
    }
    for use in ways.values():
        with pytest.raises(UserError, match=r"if you trust it, say data\.tokenizer"):
            use()
    assert module.stem not in sys.modules
    assert restore(last, own).checked_vocabulary.words_of("abc") == ["ab", "c"]
    evaluate(f"data.tokenizer={own}")
    report_of_checkpoint(last, examples=1, accelerator="cpu", tokenizer=own)


def test_another_tokenizer_than_the_networks_is_named():
    saved = {checkpoints.ENTRY: {"vocabulary": grown("unicode").to_dict()}}
    with pytest.raises(UserError, match=r"with data\.tokenizer=unicode, not treebank: give"):
        checkpoint_checks.check_vocabulary(saved, grown(TREEBANK), source="x.ckpt")


def test_new_answers_name_the_way_on():
    saved = {checkpoints.ENTRY: {"vocabulary": Vocabulary({"a": 1}, {"yes": 0}).to_dict()}}
    own = Vocabulary({"a": 1}, {"yes": 0, "ajar": 1})
    message = r"\(1 new answers, such as 'ajar'\).*warm_start=PATH data.grow_vocabulary=true"
    with pytest.raises(UserError, match=message):
        checkpoint_checks.check_vocabulary(saved, own, source="x.ckpt")


def said_of(root, caplog, **options):
    caplog.clear()
    with caplog.at_level("INFO"):
        module = ready(root, **options)
        for split in ("train", "val"):
            module.dataset(split)
    return [record.getMessage() for record in caplog.records]


def asked(count, text, answer):
    questions = make_questions("val", count, 1)
    return [
        question | {"question": text.format(n), "answer": answer.format(n)}
        for n, question in enumerate(questions)
    ]


def test_words_that_training_never_showed_are_counted(tmp_path, caplog):
    root = write_clevr(tmp_path, train=(20, 1), val=(4, 1))
    write_questions(root, "val", asked(4, "Is there a zebra{}?", "yes"))
    assert said_of(root, caplog) == [
        "4 of 4 questions of val hold words that never occur in train, such as 'zebra0': check "
        "data.tokenizer=treebank if that is no word"
    ]
    one = [*asked(3, "How many things are there?", "2")]
    write_questions(root, "val", [*one, asked(4, "How many lilac things?", "2")[3]])
    assert said_of(root, caplog) == [
        "1 of 4 questions of val hold words that never occur in train, such as 'lilac'"
    ]


def test_answers_that_nothing_can_learn_are_told(tmp_path, caplog):
    root = write_clevr(tmp_path, train=(20, 1), val=(4, 1))
    text = "How many things are there?"
    write_questions(root, "train", asked(20, text, "Person {} walks."))
    write_questions(root, "val", asked(4, text, "Person {} runs."))
    training, rare, most = said_of(root, caplog)
    assert training.startswith("train has 20 different answers to 20 questions")
    assert rare == "4 answers of val never occur in train: scored as wrong"
    assert most.startswith("most answers of val (4 of 4) never occur in train, such as 'Person 0")
