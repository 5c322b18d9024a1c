"""Questions, scenes and predictions in the files of GQA, a few of each."""

import json


def question(answer="red", **changes):
    """A balanced question as GQA annotates it; `changes` replace whole fields."""
    return {
        "question": "What color is the cup?",
        "imageId": "7",
        "answer": answer,
        "fullAnswer": f"The cup is {answer}.",
        "isBalanced": True,
        "types": {"structural": "query", "semantic": "attr", "detailed": "categoryAttr"},
        "groups": {"global": "color", "local": "01-cup_color"},
        "semantic": [
            {"operation": "select", "argument": "cup (11)", "dependencies": []},
            {"operation": "query", "argument": "color", "dependencies": [0]},
        ],
        "entailed": [],
        "equivalent": [],
        "annotations": {"question": {"4": "11"}, "answer": {}, "fullAnswer": {"1": "11"}},
        **changes,
    }


def kinds(structural="query", semantic="attr", detailed="categoryAttr"):
    return {"structural": structural, "semantic": semantic, "detailed": detailed}


def pointers(asked=(), answered=()):
    """Annotations of a question that points at these objects."""
    parts = {"question": asked, "answer": (), "fullAnswer": answered}
    return {part: {str(i): name for i, name in enumerate(ids)} for part, ids in parts.items()}


def scene(objects, width=70, height=70):
    """A scene graph of (x, y, w, h) by object."""
    boxes = {name: dict(zip("xywh", box, strict=True)) for name, box in objects.items()}
    return {"width": width, "height": height, "objects": boxes}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")
    return path


def write_questions(root, questions, split="val_all"):
    return write(root / "questions" / f"{split}_questions.json", questions)


def write_choices(root, choices, tier="val"):
    """Choices from (valid, plausible) by question."""
    entries = {
        name: {"valid": list(valid), "plausible": list(plausible)}
        for name, (valid, plausible) in choices.items()
    }
    return write(root / "questions" / f"{tier}_choices.json", entries)


def write_scenes(root, scenes, tier="val"):
    return write(root / "sceneGraphs" / f"{tier}_sceneGraphs.json", scenes)


def write_predictions(path, predictions):
    entries = [{"questionId": k, "prediction": v} for k, v in predictions.items()]
    return write(path, entries)


def write_attentions(path, attentions):
    return write(path, [{"questionId": k, "attention": v} for k, v in attentions.items()])
