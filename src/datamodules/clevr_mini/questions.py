"""The questions of a scene, in CLEVR's format."""

import random

from dact.datamodules.clevr_mini.balance import Balance
from dact.datamodules.clevr_mini.chunks import Ask, Chunk
from dact.datamodules.clevr_mini.families import FAMILIES
from dact.datamodules.clevr_mini.masks import SceneMasks
from dact.datamodules.clevr_mini.sampling import find
from dact.datamodules.clevr_mini.scenes import any_objects, sample_scene
from dact.errors import UserError

_SCENES_TRIED = 50
_FAMILIES_TRIED = 3  # per group, before another group is asked instead


def begin(chunk: Chunk, rng: random.Random) -> Ask:
    """What makes the images of a chunk, see `chunks.make`; answers are balanced within it."""
    options, each = chunk.options, chunk.options.questions_per_image
    balance = Balance(options.mix, options.max_hops, chunk.images * each, rng)
    fewest, most = options.objects

    def make(index: int) -> tuple[dict, list[dict]]:
        """A scene that holds too few different questions is sampled anew."""
        for attempt in range(_SCENES_TRIED):
            own = random.Random(f"{options.seed}/{chunk.split}/scene/{index}/{attempt}")
            scene = sample_scene(
                own, index, chunk.split, lambda rng: any_objects(rng, fewest, most)
            )
            questions = ask(scene, each, balance, rng)
            if len(questions) == each:
                return scene, questions
        raise UserError(
            f"questions_per_image={each}: the question groups in use do not hold so many different "
            "questions about one image; ask fewer, or add groups to the mix"
        )

    return make


def ask(scene: dict, number: int, balance: Balance, rng: random.Random) -> list[dict]:
    """Up to `number` different questions about a scene, without their `question_index`.

    Fewer only when the scene holds no further question of any family in use.
    """
    view = SceneMasks(scene)
    seen: set[str] = set()
    questions = []
    for _ in range(number):
        question = _next(scene, view, balance, rng, seen)
        if question is None:
            break
        questions.append(question)
    return questions


def _next(
    scene: dict, view: SceneMasks, balance: Balance, rng: random.Random, seen: set[str]
) -> dict | None:
    for group in balance.groups():
        for index in balance.candidates(group)[:_FAMILIES_TRIED]:
            for answer in balance.answers(index):
                found = find(view, FAMILIES[index], answer, rng)
                if found is None:
                    continue
                program, text = found
                if text in seen:
                    continue
                seen.add(text)
                balance.take(group, index, answer)
                return {
                    "image_index": scene["image_index"],
                    "program": program,
                    "question_index": 0,
                    "image_filename": scene["image_filename"],
                    "question_family_index": index,
                    "split": scene["split"],
                    "answer": answer,
                    "question": text,
                }
    return None
