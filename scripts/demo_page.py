"""The page of the demo, in Gradio."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import gradio as gr

from dact.errors import UserError
from dact.explain.knowledge import Knowledge

#: Questions at a time; the others wait in a queue.
AT_ONCE = 4


class Answering(Protocol):
    """What the page calls, for instance `demo.Demo`."""

    title: str
    wanted: str
    """What may be uploaded."""
    picks: list[tuple[Knowledge, str]]
    """Images to pick from, each with a question."""

    def load(self, path: str) -> Knowledge:
        """What was uploaded."""

    def answer(self, knowledge: Knowledge | None, question: str) -> str:
        """HTML."""


def build(demo: Answering) -> gr.Blocks:
    """The page: choose an image, type a question, see the answer.

    What a visitor has chosen is kept in the visitor's own session.
    """

    def pick(event: gr.SelectData) -> tuple:
        knowledge, question = demo.picks[event.index]
        return knowledge, knowledge.view.picture, question, ""

    def upload(path: str) -> tuple:
        knowledge = demo.load(path)
        return knowledge, knowledge.view.picture, ""

    with gr.Blocks(title=demo.title, analytics_enabled=False) as page:
        gr.Markdown(f"# {demo.title}")
        chosen = gr.State(None)
        with gr.Row():
            with gr.Column():
                gallery = _gallery(demo)
                uploader = gr.UploadButton(f"Upload {demo.wanted}", elem_id="upload")
            shown = gr.Image(label="The image", interactive=False, height=320, buttons=[])
        question = gr.Textbox(label="Question", elem_id="question", max_length=500)
        ask = gr.Button("Ask", variant="primary", elem_id="ask")
        answer = gr.HTML(elem_id="answer")
        gallery.select(pick, None, [chosen, shown, question, answer])
        uploader.upload(_said(upload), uploader, [chosen, shown, answer])
        for event in (ask.click, question.submit):
            event(_said(demo.answer), [chosen, question], answer, concurrency_limit=AT_ONCE)
    return page


def launch(page: gr.Blocks, host: str, port: int, **options: Any) -> Any:
    """Serve a page; returns what Gradio does.

    Args:
        page: of `build`.
        host: the address that is listened on.
        port: of it.
        **options: of `gradio.Blocks.launch`.
    """
    fonts = ["system-ui", "sans-serif"]  # none that would have to be fetched
    return page.launch(
        server_name=host,
        server_port=port,
        share=False,
        ssr_mode=False,
        footer_links=[],
        max_file_size="20mb",
        theme=gr.themes.Default(font=fonts, font_mono=["ui-monospace", "monospace"]),
        **options,
    )


def _gallery(demo: Answering) -> gr.Gallery:
    return gr.Gallery(
        [knowledge.view.picture for knowledge, _ in demo.picks],
        label="Pick an image",
        columns=4,
        height="auto",
        allow_preview=False,
        buttons=[],
        visible=bool(demo.picks),
        elem_id="picks",
    )


def _said(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a visitor's mistake is a message in the page, without a trace."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return call
