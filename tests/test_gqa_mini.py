"""The gqa_mini generator: what its files, scenes, questions, answers and features must obey."""

import ast
import json
import random
import sys
from collections import Counter, defaultdict
from itertools import chain
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import compose
from gqa_oracle import CATEGORIES, KINDS, IllPosedError, execute

from dact.datamodules import gqa_mini
from dact.datamodules.gqa_mini import chunks, generate, generation
from dact.datamodules.gqa_mini.facts import close, follows
from dact.datamodules.gqa_mini.features import Eye, cover
from dact.datamodules.gqa_mini.questions import KINDS as ASKED
from dact.datamodules.gqa_mini.questions import MIX, ask
from dact.datamodules.gqa_mini.scenes import sample_scene
from dact.datamodules.gqa_mini.view import Description, View
from dact.datamodules.gqa_mini.wording import article, mark, unmark
from dact.datamodules.gqa_mini.world import RELATIONS, WEATHERS
from dact.errors import UserError

IMAGES = {"train": 150, "val": 40, "testdev": 6, "test": 5, "challenge": 4}
#: A mix with questions of every kind.
EVERY = {
    **{"attribute": 34, "attribute_verify": 5, "attribute_choose": 8, "attribute_two": 3},
    **{"same": 9, "common": 14, "exist": 6, "either": 5, "name": 16, "name_choose": 4},
    **{"neighbour": 8, "place_verify": 2, "place_choose": 4},
    **{"scene": 6, "scene_verify": 2, "scene_choose": 2},
    **{"shared_attribute": 8, "shared_exist": 8, "shared_name": 8, "shared_neighbour": 8},
}
TINY = {"images": {"train": 3, "val": 2, "test": 1}, "questions_per_image": 8, "progress": False}
FIELDS = {
    *("semantic", "entailed", "equivalent", "question", "imageId", "isBalanced", "groups"),
    *("answer", "semanticStr", "annotations", "types", "fullAnswer"),
}
HIDDEN = {"question", "imageId", "isBalanced"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def questions(root, split, which):
    path = root / "questions" / f"{split}_{which}_questions"
    if path.is_dir():
        parts = [read(shard) for shard in sorted(path.iterdir())]
        return dict(chain.from_iterable(part.items() for part in parts))
    return read(path.with_suffix(".json"))


def graphs(root, split):
    return read(root / "sceneGraphs" / f"{split}_sceneGraphs.json")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small data set made by one process: two chunks of train, one of each other split."""
    path = tmp_path_factory.mktemp("gqa_mini") / "data"
    generate(path, images=IMAGES, mix=EVERY, workers=1, progress=False)
    return path


@pytest.fixture(scope="module")
def train(root):
    """All questions of train and its scene graphs."""
    return questions(root, "train", "all"), graphs(root, "train")


# Files


def test_every_file_is_there(root):
    two = [f"{split}_{which}" for split in IMAGES for which in ("all", "balanced")]
    two.remove("train_all")
    assert sorted(contents(root)) == sorted(
        [
            *(f"questions/{name}_questions.json" for name in (*two, "submission_all")),
            *(f"questions/train_all_questions/train_all_questions_{k}.json" for k in range(3)),
            *(f"questions/{split}_choices.json" for split in ("val", "testdev")),
            *(f"sceneGraphs/{split}_sceneGraphs.json" for split in ("train", "val")),
            *(f"features/{kind}/gqa_{kind}_info.json" for kind in ("objects", "spatial")),
            *(f"features/objects/gqa_objects_{k}.h5" for k in range(3)),
            *(f"features/spatial/gqa_spatial_{k}.h5" for k in range(3)),
        ]
    )


@pytest.mark.parametrize("split", IMAGES)
def test_questions_have_the_official_fields(root, split):
    every = questions(root, split, "all")
    assert len(every) == 16 * IMAGES[split]
    assert len({q["imageId"] for q in every.values()}) == IMAGES[split]
    for key, q in every.items():
        assert key.isdecimal()
        assert q["imageId"].isdecimal()
        assert isinstance(q["isBalanced"], bool)
        assert set(q) == (HIDDEN if split in ("test", "challenge") else FIELDS)
        if "answer" not in q:
            continue
        assert set(q["types"]) == {"structural", "semantic", "detailed"}
        assert set(q["groups"]) == {"global", "local"}
        assert set(q["annotations"]) == {"answer", "question", "fullAnswer"}
        assert (q["groups"]["global"] is None) == (
            q["answer"] in ("yes", "no") or q["types"]["detailed"] == "twoCommon"
        )
        for i, step in enumerate(q["semantic"]):
            assert set(step) == {"operation", "argument", "dependencies"}
            assert all(0 <= j < i for j in step["dependencies"])


def test_a_program_reads_as_in_the_release(train):
    strings = {q["semanticStr"] for q in train[0].values()}
    assert "select: scene->query: weather [0]" in strings
    (one, *_) = (q for q in train[0].values() if q["types"]["detailed"] == "direct")
    assert [step["operation"] for step in one["semantic"]][-1] == "query"
    assert one["semanticStr"].endswith(f"->query: color [{len(one['semantic']) - 2}]")


def test_all_kinds_of_questions_occur(train):
    found = {
        name: {q["types"][name] for q in train[0].values()}
        for name in train[0]["00000000"]["types"]
    }
    assert found["structural"] == {"query", "verify", "choose", "logical", "compare"}
    assert found["semantic"] == {"obj", "attr", "rel", "cat", "global"}
    assert len(found["detailed"]) >= 30
    operations = {step["operation"] for q in train[0].values() for step in q["semantic"]}
    assert {
        *("select", "relate", "exist", "query", "and", "or", "common", "choose name"),
        *("verify rel", "choose rel", "verify location", "choose weather"),
        *(f"{verb} {kind}" for verb in ("filter", "verify", "choose", "same") for kind in KINDS),
    } <= operations


def test_balanced_questions_are_some_of_all(root):
    for split in IMAGES:
        every, balanced = (questions(root, split, which) for which in ("all", "balanced"))
        assert balanced == {key: q for key, q in every.items() if q["isBalanced"]}
        assert 0.5 * len(every) < len(balanced) < 0.9 * len(every)


def test_submission_holds_every_question_but_those_of_train(root):
    submission = questions(root, "submission", "all")
    for split in ("val", "testdev", "test", "challenge"):
        for key, q in questions(root, split, "all").items():
            assert submission.pop(key) == {name: q[name] for name in HIDDEN}
    assert submission == {}


def test_bytes_depend_on_the_seed_and_not_on_the_workers(root, tmp_path):
    generate(tmp_path / "two", images=IMAGES, mix=EVERY, workers=2, progress=False)
    assert contents(tmp_path / "two") == contents(root)
    generate(tmp_path / "one", **TINY)
    generate(tmp_path / "other", **TINY, seed=1)
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    assert one.keys() == other.keys()
    # Where an image is depends on nothing but the number of images.
    assert {path for path in one if one[path] == other[path]} <= {
        "features/spatial/gqa_spatial_info.json"
    }


def test_splits_share_no_ids(root):
    images, keys = Counter(), Counter()
    for split in IMAGES:
        every = questions(root, split, "all")
        keys.update(every.keys())
        images.update({q["imageId"] for q in every.values()})
    assert max(keys.values()) == max(images.values()) == 1
    assert images.keys() == read(root / "features/objects/gqa_objects_info.json").keys()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch, error):
    def fail(chunk):
        if chunk.split != "train":
            raise error
        return chunks.make(chunk)

    monkeypatch.setattr(generation, "make", fail)
    with pytest.raises(error):
        generate(tmp_path / "data", **TINY)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_used_is_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below", tmp_path):
        with pytest.raises(UserError):
            generate(place, **TINY)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"images": {"train": 0}}, "no images"),
        ({"images": {"dev": 5}}, "dev"),
        ({"images": {"train": 100_000}}, "99999"),
        ({"questions_per_image": 0}, "questions_per_image"),
        ({"questions_per_image": 41}, "questions_per_image"),
        ({"rows": 7}, "rows"),
        ({"feature_dim": 0}, "feature_dim"),
        ({"shards": 0}, "shards"),
        ({"workers": True}, "workers"),
        ({"mix": {"shared": 1}}, "unknown question group 'shared'"),
        ({"mix": {"name": 0}}, "every weight is 0"),
        ({"mix": {"name": -1}}, "name"),
    ],
)
def test_impossible_wishes_are_user_errors(tmp_path, wish, message):
    with pytest.raises(UserError, match=message) as caught:
        generate(tmp_path / "data", **TINY | wish)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_workers_need_no_torch():
    allowed = {"numpy", "h5py", "rich"}
    for path in Path(gqa_mini.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                ours = name == "dact.errors" or name.split(".")[2:3] in (
                    ["gqa_mini"],
                    ["clevr_mini"],
                    ["processes"],
                )
                ours = ours or name == "dact.datamodules.gqa_mini"
                top = name.partition(".")[0]
                assert ours or top in allowed or top in sys.stdlib_module_names, (path.name, name)


# Scenes


def test_scene_graphs_have_the_official_form(root):
    for split in ("train", "val"):
        scenes = graphs(root, split)
        assert len(scenes) == IMAGES[split]
        for scene in scenes.values():
            assert ("weather" in scene) == (scene["location"] == "outdoors")
            objects = scene["objects"]
            assert 4 <= len(objects) <= 8
            for key, thing in objects.items():
                assert key.isdecimal()
                assert set(thing) == {"name", "x", "y", "w", "h", "attributes", "relations"}
                for link in thing["relations"]:
                    assert set(link) == {"name", "object"}
                    assert link["object"] in objects.keys() - {key}


def test_boxes_lie_in_the_picture(train):
    sizes = set()
    for scene in train[1].values():
        sizes.add((scene["width"], scene["height"]))
        for thing in scene["objects"].values():
            assert thing["x"] >= 0
            assert thing["y"] >= 0
            assert thing["w"] >= 10
            assert thing["h"] >= 10
            assert thing["x"] + thing["w"] <= scene["width"]
            assert thing["y"] + thing["h"] <= scene["height"]
    assert len(sizes) >= 4


def test_things_look_as_things_of_their_name_can(train):
    for scene in train[1].values():
        backdrop = {"indoors": ("wall", []), "outdoors": ("sky", [scene.get("weather")])}
        things = list(scene["objects"].values())
        back = [t for t in things if t["name"] in ("wall", "sky")]
        assert [(t["name"], t["attributes"]) for t in back] == [backdrop[scene["location"]]]
        assert back[0]["relations"] == []
        for thing in things:
            if thing in back:
                continue
            (category,) = [c for c, names in CATEGORIES.items() if thing["name"] in names]
            number = {kind: len(set(thing["attributes"]) & some) for kind, some in KINDS.items()}
            made = category in ("furniture", "clothing")
            assert number == {"size": 1, "color": 1, "material": int(made)}


def test_relations_follow_the_boxes(train):
    """Left is half a fifth of the width away, never nearly so; near is at most 1.5 cells."""
    for scene in train[1].values():
        things = {k: t for k, t in scene["objects"].items() if t["name"] not in ("wall", "sky")}
        for key, thing in things.items():
            said = {(link["name"], link["object"]) for link in thing["relations"]}
            assert len(said) == len(thing["relations"])
            expected = set()
            for other, there in things.items():
                if other == key:
                    continue
                right = (thing["x"] + thing["w"] / 2 - there["x"] - there["w"] / 2) * 5
                down = (thing["y"] + thing["h"] / 2 - there["y"] - there["h"] / 2) * 4
                right, down = right / scene["width"], down / scene["height"]
                for offset in (abs(right), abs(down)):
                    assert offset < 0.35 or offset > 0.65
                    assert offset < 1.35 or offset > 1.65
                expected |= {("to the left of", other)} if right < -0.5 else set()
                expected |= {("to the right of", other)} if right > 0.5 else set()
                expected |= {("above", other)} if down < -0.5 else set()
                expected |= {("below", other)} if down > 0.5 else set()
                expected |= {("near", other)} if max(abs(right), abs(down)) < 1.5 else set()
            assert said == expected


# Questions


def test_answers_are_those_of_the_programs(root, train):
    """`execute` also refuses every definite phrase that does not mean one thing."""
    for every, scenes in (train, (questions(root, "val", "all"), graphs(root, "val"))):
        for q in every.values():
            assert execute(q["semantic"], scenes[q["imageId"]]) == q["answer"], q["question"]


def answer_in(scene, program):
    try:
        return execute(program, scene, check_ids=False)
    except IllPosedError:
        return None


def test_what_is_entailed_holds_wherever_the_question_has_its_answer(train):
    """A model check: each pair of question and entailed question is put to other scenes too."""
    every, scenes = train
    others = list(scenes.values())[:100]
    pairs = {}
    for q in every.values():
        for name in ("entailed", "equivalent"):
            for key in q[name]:
                e = every[key]
                assert e["imageId"] == q["imageId"]
                pairs[q["semanticStr"], q["answer"], e["semanticStr"], e["answer"]] = (q, e)
    held = 0
    for q, e in random.Random(0).sample(list(pairs.values()), 1500):
        for scene in others:
            if answer_in(scene, q["semantic"]) == q["answer"]:
                assert answer_in(scene, e["semantic"]) == e["answer"], (
                    q["question"],
                    e["question"],
                )
                held += 1
    assert held > 10_000


def test_entailment_is_found_where_it_is_plain(train):
    """Of each color asked for, every "Is it …?" about the same thing follows."""
    every, _ = train
    by_image = defaultdict(list)
    for key, q in every.items():
        by_image[q["imageId"]].append((key, q))
    checked = 0
    for q in every.values():
        if q["semantic"][-1]["operation"] != "query" or q["types"]["semantic"] != "attr":
            continue
        last_found = q["semantic"][-1]["dependencies"]
        for key, other in by_image[q["imageId"]]:
            last = other["semantic"][-1]
            if other["semantic"][:-1] == q["semantic"][:-1] and (
                last["operation"] == f"verify {q['semantic'][-1]['argument']}"
            ):
                assert key in q["entailed"]
                checked += 1
            exist = {"operation": "exist", "argument": "?"}
            if other["semantic"] == [*q["semantic"][:-1], exist | {"dependencies": last_found}]:
                assert key in q["entailed"]
                checked += 1
    assert checked > 100


DOG, CHAIR, ANIMAL = Description("dog"), Description("chair"), Description("animal")
BESIDE = ("to the left of", CHAIR)
LEFT_DOG, LEFT_ANIMAL = Description("dog", (), *BESIDE), Description("animal", (), *BESIDE)
BROWN_DOG = DOG.also("color", "brown")


@pytest.mark.parametrize(
    ("fact", "what_follows", "what_does_not"),
    [
        (
            ("none", DOG),
            [("none", BROWN_DOG), ("none", LEFT_DOG)],
            [("none", ANIMAL), ("some", ANIMAL)],
        ),
        (
            ("some", BROWN_DOG),
            [("some", DOG), ("some", ANIMAL), ("some", ANIMAL.also("color", "brown"))],
            [("one", DOG), ("some", LEFT_DOG), ("none", CHAIR)],
        ),
        (("some", LEFT_DOG), [("some", LEFT_ANIMAL), ("some", DOG)], [("one", LEFT_DOG)]),
        (("one", LEFT_DOG), [("some", DOG), ("one", CHAIR), ("some", CHAIR)], [("one", DOG)]),
        (
            ("has", DOG, "color", "brown"),
            [("lacks", DOG, "color", "black"), ("some", BROWN_DOG)],
            [("lacks", DOG, "color", "brown"), ("has", ANIMAL, "color", "brown")],
        ),
        (("lacks", DOG, "size", "small"), [("has", DOG, "size", "large")], []),
        (("lacks", DOG, "color", "brown"), [], [("has", DOG, "color", "black")]),
        (
            ("is", LEFT_ANIMAL, "dog"),
            [("some", LEFT_DOG), ("some", DOG), ("is not", LEFT_ANIMAL, "cat")],
            [("one", DOG), ("is", ANIMAL, "dog")],
        ),
        (
            ("rel", DOG, *BESIDE),
            [
                ("rel", CHAIR, "to the right of", DOG),
                ("not rel", CHAIR, "to the left of", DOG),
                ("not rel", DOG, "to the right of", CHAIR),
                ("some", LEFT_DOG),
            ],
            [("not rel", DOG, "near", CHAIR), ("not rel", DOG, "above", CHAIR)],
        ),
        (("rel", DOG, "near", CHAIR), [("rel", CHAIR, "near", DOG)], []),
        (
            ("not rel", DOG, *BESIDE),
            [("not rel", CHAIR, "to the right of", DOG)],
            [("rel", DOG, "to the right of", CHAIR)],
        ),
        (("in", "outdoors"), [("not in", "indoors")], [("sky", "sunny")]),
        (("sky", "sunny"), [("in", "outdoors"), ("not sky", "rainy")], [("sky", "rainy")]),
        (("not sky", "sunny"), [("in", "outdoors"), ("not in", "indoors")], [("sky", "rainy")]),
    ],
)
def test_rules_of_entailment(fact, what_follows, what_does_not):
    stated = close([fact])
    for other in [fact, *what_follows]:
        assert follows([frozenset({other})], stated), other
    for other in what_does_not:
        assert not follows([frozenset({other})], stated), other


def test_all_facts_of_one_of_the_grounds_are_needed():
    stated = close([("some", DOG), ("none", CHAIR)])
    some = [frozenset({("some", noun)}) for noun in (DOG, CHAIR)]
    assert follows(some, stated)
    assert not follows([some[0] | some[1]], stated)
    assert not follows([], stated)


def true(fact, view):
    """Whether a fact holds in a scene; of things that are not there, or not alone, nothing does."""
    kind, *rest = fact
    if kind in ("in", "not in", "sky", "not sky"):
        where = {view.location} if kind.endswith("in") else {view.weather} - {None}
        return bool(where) and (rest[0] in where) != kind.startswith("not")
    descriptions = [d for d in rest if isinstance(d, Description)]
    if any(d.anchor is not None and len(view.fits(d.anchor)) != 1 for d in descriptions):
        return False
    found = [view.fits(d) for d in descriptions]
    if kind in ("some", "none"):
        return bool(found[0]) == (kind == "some")
    if any(len(some) != 1 for some in found):
        return False
    if kind == "one":
        return True
    if kind in ("rel", "not rel"):
        return ((found[0][0], found[1][0]) in view.related[rest[1]]) == (kind == "rel")
    thing = view.things[found[0][0]]
    if kind in ("is", "is not"):
        return (thing.name == rest[1]) == (kind == "is")
    return rest[1] in thing.values and (thing.values[rest[1]] == rest[2]) == (kind == "has")


def test_rules_lead_from_truths_to_truths():
    """As long as what a question presupposes is stated with it, as it always is."""
    rng = random.Random(0)
    checked = Counter()
    for _ in range(20):
        view = View(sample_scene(rng, "1"))
        everything = range(len(view.things))
        plain = [d for i in everything for d in view.plain(i)[:3]]
        related = [
            Description(d.noun, (), r, e) for d in plain for r in RELATIONS for e in plain[:2]
        ]
        facts = [(kind, d) for d in plain + related for kind in ("some", "none", "one")]
        facts += [("rel", d, r, e) for d in plain for r in RELATIONS for e in plain]
        facts += [("not rel", *fact[1:]) for fact in facts if fact[0] == "rel"]
        facts += [
            (k, d, kind, v)
            for d in plain
            for k in ("has", "lacks")
            for kind in KINDS
            for v in KINDS[kind]
        ]
        facts += [("is", d, view.things[i].name) for i in everything for d in view.plain(i)]
        facts += [("in", view.location), *(("not sky", w) for w in WEATHERS), ("sky", view.weather)]
        for fact in facts:
            if true(fact, view):
                for other in close([fact]):
                    assert true(other, view), (fact, other)
                checked[fact[0]] += 1
    assert min(checked.values()) >= 5
    assert checked.keys() == {
        "some",
        "none",
        "one",
        "rel",
        "not rel",
        "has",
        "lacks",
        "is",
        "in",
        "sky",
        "not sky",
    }


def test_lists_of_questions_are_as_odd_as_the_official_ones(train):
    every, _ = train
    assert all(key in q["equivalent"] for key, q in every.items())
    kinds = Counter((key in q["entailed"], len(q["entailed"]) > 1) for key, q in every.items())
    assert kinds.keys() == {(True, True), (True, False), (False, False)}
    balanced = [q for q in every.values() if q["isBalanced"]]
    assert any(not every[key]["isBalanced"] for q in balanced for key in q["entailed"])


def test_annotations_name_the_words_of_their_objects(train):
    every, scenes = train
    heads = {"furniture": "piece of furniture", "clothing": "piece of clothing"}
    found = Counter()
    for q in every.values():
        objects = scenes[q["imageId"]]["objects"]
        for field, text in (("question", q["question"]), ("fullAnswer", q["fullAnswer"])):
            tokens = text.split()
            for place, key in q["annotations"][field].items():
                first, _, end = place.partition(":")
                words = tokens[int(first) : int(end or int(first) + 1)]
                name = objects[key]["name"]
                (category,) = [c for c, names in CATEGORIES.items() if name in names]
                nouns = [name, name[:-1], category, "thing", *heads.get(category, "").split()]
                assert words[-1].rstrip("?.,").startswith(tuple(filter(None, nouns))), (text, words)
                assert all(w in objects[key]["attributes"] for w in words[:1] if len(words) == 2)
                found[field] += 1
        for place, key in q["annotations"]["answer"].items():
            assert (place, objects[key]["name"]) == ("0", q["answer"])
            found["answer"] += 1
    assert min(found.values()) > 200


def test_every_definite_phrase_of_a_question_is_annotated(train):
    for q in train[0].values():
        annotated = {int(place.split(":")[0]) for place in q["annotations"]["question"]}
        tokens = q["question"].split()
        said = {
            i + 1
            for i, word in enumerate(tokens)
            if word == "the"
            and tokens[i + 1].rstrip("?,")
            not in ("color", "size", "material", "same", "weather", "image", "left", "right")
        }
        assert said <= annotated, q["question"]


def test_sentences_read_as_english(train):
    seen = set()
    for q in train[0].values():
        assert (q["imageId"], q["question"]) not in seen
        seen.add((q["imageId"], q["question"]))
        for text, end in ((q["question"], "?"), (q["fullAnswer"], ".")):
            assert text[0].isupper()
            assert text.endswith(end)
            assert text.isprintable()
            assert not set(text) & set("{}|_")
            assert "  " not in text
            for wrong in (" a a", " a e", " an b", " furnitures", " clothings", " the the "):
                assert wrong not in text
        if q["answer"] not in ("yes", "no"):
            assert q["answer"] in q["fullAnswer"]
        elif q["types"]["structural"] != "query":
            assert q["fullAnswer"].startswith(q["answer"].capitalize() + ", ")


def test_no_phrase_names_what_is_asked_of_its_thing(train):
    checked = 0
    for q in train[0].values():
        *steps, last = q["semantic"]
        verb, _, kind = last["operation"].partition(" ")
        if verb not in ("query", "choose", "verify") or kind == "rel":
            continue
        step = steps[last["dependencies"][0]]
        while step["operation"].startswith("filter"):
            assert step["operation"] != f"filter {kind or last['argument']}", q["question"]
            step = steps[step["dependencies"][0]]
        if "name" in (kind, last["argument"]):
            assert step["argument"].split(" ")[0].split(",")[0] in ("_", *CATEGORIES)
        checked += 1
    assert checked > 1000


def test_choices_hold_the_answer(root):
    for split in ("val", "testdev"):
        every = questions(root, split, "all")
        some = read(root / "questions" / f"{split}_choices.json")
        assert some.keys() == every.keys()
        narrower = 0
        for key, q in every.items():
            assert set(some[key]) == {"valid", "plausible"}
            assert q["answer"] in some[key]["valid"]
            assert q["answer"] in some[key]["plausible"]
            assert set(some[key]["plausible"]) <= set(some[key]["valid"])
            narrower += len(some[key]["plausible"]) < len(some[key]["valid"])
        assert narrower > 0.1 * len(every)


def test_no_answer_is_far_ahead_in_the_balanced_files(root):
    balanced = questions(root, "train", "balanced").values()
    tallies = defaultdict(Counter)
    for q in balanced:
        tallies[q["groups"]["global"] or q["types"]["detailed"]][q["answer"]] += 1
    for group, tally in tallies.items():
        if tally.total() >= 200:
            assert max(tally.values()) < 1.5 * sorted(tally.values())[(len(tally) - 1) // 2], group
    by_type = defaultdict(Counter)
    for q in balanced:
        by_type[q["types"]["detailed"]][q["answer"]] += 1
    constant = sum(max(tally.values()) for tally in by_type.values()) / len(balanced)
    assert constant < 0.38  # 31 % at the default size


def test_a_scene_that_holds_too_few_questions_is_sampled_anew(tmp_path, monkeypatch):
    generate(tmp_path / "many", images={"val": 3}, questions_per_image=40, progress=False)
    assert len(questions(tmp_path / "many", "val", "all")) == 120
    monkeypatch.setattr(chunks, "ask", lambda *_: [])
    with pytest.raises(UserError, match="ask fewer"):
        generate(tmp_path / "none", **TINY)


def test_every_kind_of_question_can_be_the_only_one():
    rng = random.Random(0)
    for kind, ask_for in ASKED.items():
        drafts = [ask_for(View(sample_scene(rng, "1")), rng) for _ in range(60)]
        assert sum(draft is not None for draft in drafts) > 5, kind


@pytest.mark.usefixtures("configured")
def test_the_default_mix_is_that_of_the_configuration():
    assert compose("data=gqa_mini").data.generate.mix == MIX
    assert MIX.keys() == EVERY.keys() == ASKED.keys()


def test_a_mix_says_which_questions_there_are(tmp_path):
    generate(tmp_path / "one", **TINY | {"mix": {"shared_neighbour": 1}, "questions_per_image": 1})
    types = [q["types"]["detailed"] for q in questions(tmp_path / "one", "train", "all").values()]
    assert len(types) == 3
    assert set(types) == {"sameRelate"}


def test_what_shares_a_color_cannot_be_told_without_the_other_thing(train):
    """Two things of the noun or more, besides that one; and no phrase names the color."""
    every, scenes = train
    checked = Counter()
    for q in every.values():
        for step in q["semantic"]:
            noun, *relation = step["argument"].partition(" (")[0].split(",")
            if step["operation"] != "relate" or relation[0] != "same color":
                continue
            anchor = q["semantic"][: step["dependencies"][0] + 1]
            assert all(some["operation"] != "filter color" for some in anchor), q["question"]
            if noun in ("_", *CATEGORIES):
                nouns = CATEGORIES.get(noun, set().union(*CATEGORIES.values()))
                fitting = [
                    t for t in scenes[q["imageId"]]["objects"].values() if t["name"] in nouns
                ]
                assert len(fitting) > 1, q["question"]
            checked[q["types"]["structural"]] += 1
    assert min(checked[name] for name in ("query", "verify", "choose")) > 5, checked


def test_asking_again_about_the_same_things_gives_another_question():
    rng = random.Random(0)
    asked = [q for _ in range(20) for q in ask(View(sample_scene(rng, "1")), 10, rng)]
    assert sum(len(q.equivalent) > 1 for q in asked) > 20


def test_marks_become_annotations():
    text = f"Is {article(mark('old apple', '7'))} to the left of the {mark('pear', '8')}?"
    assert unmark(text) == ("Is an old apple to the left of the pear?", {"2:4": "7", "9": "8"})


# Features


def test_every_image_is_where_the_info_files_say(root):
    places = {}
    for kind in ("objects", "spatial"):
        info = read(root / "features" / kind / f"gqa_{kind}_info.json")
        assert len(info) == sum(IMAGES.values())
        rows = Counter(about["file"] for about in info.values())
        assert len({(about["file"], about["idx"]) for about in info.values()}) == len(info)
        for shard, number in rows.items():
            with h5py.File(root / "features" / kind / f"gqa_{kind}_{shard}.h5") as file:
                for name, data in file.items():
                    assert len(data) == number
                    assert data.dtype == np.float32
                    assert np.isfinite(data[:]).all()
                    shapes = {"bboxes": (12, 4), "features": (12, 64)}
                    assert data.shape[1:] == (shapes[name] if kind == "objects" else (64, 7, 7))
                assert set(file) == ({"features", "bboxes"} if kind == "objects" else {"features"})
            indices = [about["idx"] for about in info.values() if about["file"] == shard]
            assert sorted(indices) == list(range(number))
        assert len(rows) == 3
        places[kind] = {key: (about["file"], about["idx"]) for key, about in info.items()}
    # Rows are not in the order of ids.
    first = [places["objects"][key] for key in sorted(places["objects"])][:100]
    assert first != sorted(first)


def test_boxes_of_objects_are_those_of_the_scene_graph(root, train):
    info = read(root / "features/objects/gqa_objects_info.json")
    files = [h5py.File(root / f"features/objects/gqa_objects_{k}.h5") for k in range(3)]
    for key, scene in train[1].items():
        about = info[key]
        assert set(about) == {"file", "idx", "objectsNum", "width", "height"}
        assert (about["width"], about["height"]) == (scene["width"], scene["height"])
        assert about["objectsNum"] == len(scene["objects"])
        boxes = files[about["file"]]["bboxes"][about["idx"]]
        expected = sorted(
            (t["x"], t["y"], t["x"] + t["w"], t["y"] + t["h"]) for t in scene["objects"].values()
        )
        assert sorted(map(tuple, boxes[: about["objectsNum"]].tolist())) == expected
        # Padding is full of something, so that a forgotten mask shows.
        assert np.abs(files[about["file"]]["features"][about["idx"]]).sum(axis=1).min() > 1
    for file in files:
        file.close()


def looked_at(scene, rows=12, seed=0):
    return Eye(seed, 64).look([scene], rows, np.random.default_rng(0))


def test_features_show_name_and_attributes_through_a_fixed_projection():
    """Least squares on some scenes reads the words off others."""
    rng = random.Random(0)
    words = sorted({*chain(*KINDS.values(), *CATEGORIES.values())})
    vectors, present = [], []
    for number in range(300):
        scene = sample_scene(rng, str(number))
        seen = looked_at(scene)
        by_box = {
            (t["x"], t["y"], t["x"] + t["w"], t["y"] + t["h"]): {t["name"], *t["attributes"]}
            for t in scene["objects"].values()
        }
        for row in range(len(scene["objects"])):
            vectors.append(seen.features[0, row])
            found = by_box[tuple(seen.boxes[0, row].astype(int).tolist())]
            present.append([word in found for word in words])
    x, y = np.array(vectors), np.array(present)
    half = len(x) // 2
    weights, *_ = np.linalg.lstsq(
        np.c_[x, np.ones(len(x))][:half], y[:half].astype(float), rcond=None
    )
    guess = np.c_[x, np.ones(len(x))][half:] @ weights > 0.5
    assert (guess == y[half:]).all(axis=1).mean() > 0.9


def test_another_seed_sees_with_another_eye():
    scene = sample_scene(random.Random(0), "1")
    one, other = looked_at(scene).features, looked_at(scene, seed=1).features
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.3


def test_cells_show_whatcovers_them():
    boxes = np.array([[0.0, 0.0, 1.0, 0.5], [1 / 7, 2 / 7, 1.5 / 7, 3 / 7]])
    part = cover(boxes)
    np.testing.assert_allclose(part[0, :, 3], [1, 1, 1, 0.5, 0, 0, 0], atol=1e-12)
    expected = np.zeros((7, 7))
    expected[2, 1] = 0.5  # third row, second column
    np.testing.assert_allclose(part[1], expected, atol=1e-12)


def test_the_grid_adds_up_the_objects():
    scene = sample_scene(random.Random(3), "1")
    seen = looked_at(scene)
    number = len(scene["objects"])
    boxes = seen.boxes[0, :number] / np.tile([scene["width"], scene["height"]], 2)
    expected = np.einsum("kyx,kf->fyx", cover(boxes), seen.features[0, :number])
    assert np.abs(seen.grid[0] - expected).max() < 1.5  # noise of both
    assert np.corrcoef(seen.grid[0].ravel(), expected.ravel())[0, 1] > 0.97
