"""The page of inspected examples: characters whole, classes with their weights, marks that match both."""

import html.parser

import pytest

from im_jax.config import ClassWeights, LossConfig
from im_jax.data.display import MaskedExample
from im_jax.data.page import to_html, whole_characters
from im_jax.data.statistics import DataReport
from im_jax.data.tokenizers import make_tokenizer
from im_jax.losses.policy import make_policy
from im_jax.token_classes import TokenClass

BYTES = make_tokenizer("bytes")


class Spans(html.parser.HTMLParser):
    """Of each element with a class `token`: its classes, its style, its tip, its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[set[str], str, str, str]] = []
        self._open: tuple[set[str], str, str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        classes = set(values.get("class", "").split())
        if "token" in classes:
            self._open = classes - {"token"}, values.get("style", ""), values.get("title", "")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found.append((*self._open, data))
            self._open = None


def example(text: str, token_class: TokenClass = TokenClass.USER, weight: float = 1.0) -> MaskedExample:
    tokens = BYTES.encode(text).ids.tolist()
    pieces = [BYTES.piece(token) for token in tokens]
    return MaskedExample("id", tokens, pieces, [token_class] * len(tokens), [weight] * len(tokens))


def page(*examples: MaskedExample, **loss: object) -> str:
    policy = make_policy(LossConfig(**loss))  # type: ignore[arg-type]
    return to_html(examples, BYTES, policy.table(), DataReport(), "title")


def tokens_of(shown: str) -> list[tuple[set[str], str, str, str]]:
    """Those of the examples, without the legend."""
    return [found for found in Spans(shown).found if found[2]]


def test_bytes_are_joined_to_characters_and_left_alone_where_they_are_none() -> None:
    ids = list(bytes.fromhex("E4B8AD61FF"))
    assert list(whole_characters(ids, BYTES)) == [(3, "中"), (4, None), (5, None)]
    assert list(whole_characters([], BYTES)) == []
    cut = list("🙂".encode())[:3]
    assert list(whole_characters(cut, BYTES)) == [(1, None), (2, None), (3, None)]


@pytest.mark.parametrize("text", ["今天天气很好。", "الطقس جميل", "a é 🙂 <b>&", "e\u0301 x"])
def test_page_shows_characters_with_all_their_tokens(text: str) -> None:
    shown = tokens_of(page(example(text)))
    assert [character for *_, character in shown] == list(text)
    for classes, _, tip, character in shown:
        count = len(character.encode())
        assert ("several" in classes) == (count > 1)
        assert tip.count(" id ") == count
        assert all(f" id {byte}" in tip for byte in character.encode())
        assert tip.endswith("user  weight 1")


def test_bytes_of_the_sign_for_a_broken_character_stay_apart() -> None:
    assert [text for *_, text in tokens_of(page(example("\ufffd?")))] == ["<0xEF>", "<0xBF>", "<0xBD>", "?"]


def test_tokens_of_one_character_that_weigh_otherwise_stay_apart() -> None:
    chinese = example("中")
    chinese.weights[0] = 0.0
    assert [text for *_, text in tokens_of(page(chinese))] == ["<0xE4>", "<0xB8>", "<0xAD>"]


def test_legend_says_what_each_class_weighs_and_looks_like_its_tokens() -> None:
    weights = ClassWeights(user=0.25, last_assistant=2.0)
    shown = page(
        example("u", TokenClass.USER, 0.25),
        example("h", TokenClass.HEADER, 0.0),
        policy="it",
        weights=weights,
    )
    legend = {text: (classes, style) for classes, style, tip, text in Spans(shown).found if not tip}
    assert legend == {
        "bos": ({"bos"}, ""),
        "header": ({"header"}, ""),
        "system": ({"system"}, ""),
        "user": ({"user", "trained"}, "--weight:0.25"),
        "assistant": ({"assistant", "trained"}, "--weight:1"),
        "stop": ({"stop", "trained"}, "--weight:1"),
        "separator": ({"separator"}, ""),
        "tool": ({"tool"}, ""),
        "last_assistant": ({"assistant", "trained"}, "--weight:1"),
    }
    assert "last_assistant</span> 2</li>" in shown and "user</span> 0.25</li>" in shown
    for classes, style, _, text in tokens_of(shown):
        assert (classes, style) == legend[{"u": "user", "h": "header"}[text]]


def test_marks_of_the_template_are_read_from_the_left_beside_arabic() -> None:
    answer = example("نعم", TokenClass.ASSISTANT)
    stop = BYTES.encode("</s>").ids.tolist()
    for column, values in zip(answer[1:], (stop, ["</s>"], [TokenClass.STOP], [1.0]), strict=True):
        column.extend(values)  # type: ignore[attr-defined]
    shown = page(answer)
    assert shown.count('<bdi dir="ltr">') == 1
    assert all(text in shown.split("<bdi")[0] for text in "نعم")
