"""Questions in the form of GQA's files."""

from dact.datamodules.gqa_mini.questions import Asked

HIDDEN = ("question", "imageId", "isBalanced")  # all that is known of the splits without answers


def record(asked: Asked, image_id: str, ids: list[str], balanced: bool) -> dict:
    """Entry of a question file; `ids`: those of all questions about the image, in order."""
    draft = asked.draft
    structural, semantic, detailed = draft.types
    return {
        "semantic": draft.program,
        "entailed": [ids[i] for i in asked.entailed],
        "equivalent": [ids[i] for i in asked.equivalent],
        "question": asked.question,
        "imageId": image_id,
        "isBalanced": balanced,
        "groups": {"global": draft.group, "local": draft.subject},
        "answer": draft.answer,
        "semanticStr": "->".join(_shown(step) for step in draft.program),
        "annotations": {
            "answer": {} if draft.named is None else {"0": draft.named},
            "question": asked.question_places,
            "fullAnswer": asked.full_places,
        },
        "types": {"detailed": detailed, "semantic": semantic, "structural": structural},
        "fullAnswer": asked.full,
    }


def hidden(record: dict) -> dict:
    """The same without what a test split keeps to itself."""
    return {name: record[name] for name in HIDDEN}


def choices(asked: Asked) -> dict:
    """Entry of a choices file."""
    return {"valid": list(asked.draft.valid), "plausible": list(asked.draft.plausible)}


def _shown(step: dict) -> str:
    shown = f"{step['operation']}: {step['argument']}"
    return f"{shown} {step['dependencies']}" if step["dependencies"] else shown
