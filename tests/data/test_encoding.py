"""From conversations to classified tokens: classes from offsets, BOS, truncation, counts."""

import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
import pytest
import tokenizers

from im_jax.config import TEMPLATES
from im_jax.data.encoding import EncodedExample, encode_conversation, encode_conversations, encode_prompt
from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.templates import Rendered, make_template
from im_jax.data.tokenizers import Encoding, Encodings, make_tokenizer
from im_jax.data.tokenizers.byte import ByteTokenizer
from im_jax.errors import ConfigError
from im_jax.token_classes import TokenClass as C
from tests.data import synthetic

BYTES = ByteTokenizer()


def conversation(*turns: tuple[str, str] | Message) -> Conversation:
    messages = (turn if isinstance(turn, Message) else Message(*turn) for turn in turns)
    return Conversation("id", tuple(messages), "test:1")


TWO_TURNS = conversation(
    ("system", "Be brief."), ("user", "2+2?"), ("assistant", "4"), ("user", "Sure?"), ("assistant", "Yes.")
)


def encode(
    example: Conversation, template: str = "tulu", max_length: int = 1000, truncation: str = "right"
) -> EncodedExample:
    return encode_conversation(
        example, make_template(template, BYTES), BYTES, max_length=max_length, truncation=truncation
    )


def text_of(encoded: EncodedExample, *classes: C) -> str:
    return BYTES.decode(encoded.tokens[np.isin(encoded.classes, classes)], skip_special=False)


class ChunkTokenizer(ByteTokenizer):
    """Cuts a text every few characters, whatever stands there, with an empty token after each chunk."""

    def __init__(self, width: int) -> None:
        self.width = width

    def encode_batch(self, texts: Sequence[str]) -> Encodings:
        return Encodings.of(self.encode(text) for text in texts)

    def encode(self, text: str) -> Encoding:
        edges = [*range(0, len(text), self.width), len(text)]
        offsets = [cut for a, b in itertools.pairwise(edges) for cut in ((a, b), (b, b))]
        starts, ends = np.array(offsets, np.int32).T
        return Encoding(np.zeros(len(starts), np.int32), starts, ends)


def class_by_brute_force(rendered: Rendered, start: int, end: int) -> C:
    owner = [span.token_class for span in rendered.spans for _ in range(span.start, span.end)]
    covered = owner[start:end] or owner[start : start + 1] or owner[-1:]
    for main in (C.STOP, C.ASSISTANT, C.USER, C.SYSTEM, C.SEPARATOR, C.HEADER, C.BOS):
        for token_class in covered:
            if token_class.main is main:
                return token_class
    raise AssertionError(covered)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 40])
def test_a_token_over_several_spans_takes_the_class_of_highest_priority(template: str, width: int) -> None:
    tokenizer = ChunkTokenizer(width)
    writer = make_template(template, tokenizer)
    rendered = writer.render(TWO_TURNS)
    encoding = tokenizer.encode(rendered.text)
    expected = [class_by_brute_force(rendered, a, b) for a, b in zip(*encoding[1:], strict=True)]
    encoded = encode_conversation(TWO_TURNS, writer, tokenizer, max_length=1000)
    without_bos = encoded.classes[1:] if writer.adds_bos else encoded.classes
    assert without_bos.tolist() == expected


def test_the_example_of_the_module_docstring(shared_data: pathlib.Path) -> None:
    tokenizer = make_tokenizer(str(shared_data / "mistral_tokenizer" / "tokenizer.model.v1"))
    template = make_template("tulu", tokenizer)
    example = conversation(("user", "Say hi."), ("assistant", "Hi!"))
    encoded = encode_conversation(example, template, tokenizer, max_length=100)
    assert [tokenizer.piece(i) for i in encoded.tokens.tolist()] == [
        "<s>", " <", "|", "user", "|", ">", "\n", "S", "ay", " hi", ".", "\n",
        "<", "|", "ass", "istant", "|", ">", "\n", "Hi", "!", "</s>",
    ]  # fmt: skip
    letters = {C.BOS: "B", C.FIRST_HEADER: "F", C.USER: "U", C.SEPARATOR: "S", C.HEADER: "H"} | {
        C.LAST_ASSISTANT: "A", C.LAST_STOP: "T"
    }  # fmt: skip
    assert "".join(letters[C(c)] for c in encoded.classes) == "BFFFFFFUUUUSHHHHHHHAAT"


@pytest.mark.parametrize("kind", ["small_bpe", "small_sentencepiece", "small_llama2c"])
@pytest.mark.parametrize("template", ["tulu", "plain"])
def test_tokens_of_trained_tokenizers_take_the_class_of_highest_priority(
    kind: str, template: str, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(kind)
    writer = make_template(template, tokenizer)
    for chat in synthetic.chats(50):
        example = conversation(*(Message(**message) for message in chat))
        rendered = writer.render(example)
        offsets = tokenizer.encode(rendered.text)[1:]
        expected = [class_by_brute_force(rendered, a, b) for a, b in zip(*offsets, strict=True)]
        classes = encode_conversation(example, writer, tokenizer, max_length=2000).classes.tolist()
        assert classes[-len(expected) :] == expected
        assert classes[: -len(expected)] in ([], [C.BOS])


def test_bos_is_added_once_where_template_and_tokenizer_want_it() -> None:
    class NoHabit(ByteTokenizer):
        adds_bos = False

    def bos_positions(template: str, tokenizer: ByteTokenizer) -> list[int]:
        writer = make_template(template, tokenizer)
        encoded = encode_conversation(TWO_TURNS, writer, tokenizer, max_length=1000)
        np.testing.assert_array_equal(encoded.classes == C.BOS, encoded.tokens == tokenizer.bos_id)
        return np.flatnonzero(encoded.classes == C.BOS).tolist()

    assert bos_positions("tulu", BYTES) == [0]
    assert bos_positions("tulu", NoHabit()) == []
    assert bos_positions("llama3", BYTES) == [0]
    assert len(bos_positions("llama2", NoHabit())) == 2


def test_message_weights_reach_the_tokens() -> None:
    encoded = encode(conversation(Message("user", "ab", 0.25), Message("assistant", "c", 0.5)))
    assert set(encoded.weights[encoded.classes == C.USER].tolist()) == {0.25}
    assert set(encoded.weights[encoded.classes == C.LAST_STOP].tolist()) == {0.5}


def test_right_truncation_keeps_the_first_tokens() -> None:
    whole = encode(TWO_TURNS)
    cut = encode(TWO_TURNS, max_length=20)
    assert (whole.truncated, cut.truncated, cut.dropped) == (False, True, False)
    assert cut.full_length == len(whole.tokens)
    np.testing.assert_array_equal(cut.tokens, whole.tokens[:20])
    np.testing.assert_array_equal(cut.classes, whole.classes[:20])


def test_keep_output_removes_user_text_then_system_text_then_the_end() -> None:
    whole = encode(TWO_TURNS)
    template_and_output = ~np.isin(whole.classes, (C.USER, C.SYSTEM))

    def kept(removed: int) -> EncodedExample:
        return encode(TWO_TURNS, max_length=len(whole.tokens) - removed, truncation="keep_output")

    assert text_of(kept(3), C.USER) == "?Sure?"
    assert text_of(kept(9), C.USER) == ""
    assert text_of(kept(12), C.SYSTEM) == "brief."
    without_instructions = kept(len("2+2?Sure?Be brief."))
    np.testing.assert_array_equal(without_instructions.tokens, whole.tokens[template_and_output])
    assert without_instructions.truncated
    np.testing.assert_array_equal(
        encode(TWO_TURNS, max_length=30, truncation="keep_output").tokens,
        whole.tokens[template_and_output][:30],
    )


def test_drop_leaves_out_only_what_is_too_long() -> None:
    length = len(encode(TWO_TURNS).tokens)
    fits = encode(TWO_TURNS, max_length=length, truncation="drop")
    dropped = encode(TWO_TURNS, max_length=length - 1, truncation="drop")
    assert (fits.dropped, dropped.dropped, dropped.truncated, dropped.has_output) == (
        False,
        True,
        False,
        False,
    )
    assert (len(dropped.tokens), dropped.full_length) == (0, length)


def test_an_example_has_output_if_an_output_token_can_be_a_target() -> None:
    example = conversation(("user", "a"), ("assistant", "b"))
    before_output = len(["<s>"]) + len("<|user|>\na\n<|assistant|>\n")
    assert not encode(example, max_length=before_output).has_output
    assert encode(example, max_length=before_output + 1).has_output


def test_special_tokens_inside_contents_are_counted() -> None:
    example = conversation(("user", "what is </s> or <s>?"), ("assistant", "</s> is the end"))
    assert encode(example).special_in_content == 3
    assert encode(example, max_length=5).special_in_content == 3
    assert encode(TWO_TURNS).special_in_content == 0


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_prompt_is_how_the_training_example_begins(template: str) -> None:
    writer = make_template(template, BYTES)
    prompt = encode_prompt(TWO_TURNS.messages[:-1], writer, BYTES)
    np.testing.assert_array_equal(prompt, encode(TWO_TURNS, template).tokens[: len(prompt)])


def test_a_batch_is_its_examples_one_by_one() -> None:
    examples = [TWO_TURNS, conversation(("user", "é"), ("assistant", "你"))]
    batch = encode_conversations(examples, make_template("tulu", BYTES), BYTES, max_length=50)
    for encoded, example in zip(batch, examples, strict=True):
        alone = encode(example, max_length=50)
        assert encoded.tokens.dtype == np.int32
        assert encoded.classes.dtype == np.uint8
        assert encoded.weights.dtype == np.float32
        np.testing.assert_array_equal(encoded.tokens, alone.tokens)
        np.testing.assert_array_equal(encoded.classes, alone.classes)


def test_an_unknown_truncation_names_the_choices() -> None:
    with pytest.raises(ConfigError, match="right, keep_output, drop"):
        encode(TWO_TURNS, truncation="left")


@pytest.mark.parametrize("special", [True, False])
def test_added_tokens_have_the_class_of_their_own_text(special: bool, tmp_path: pathlib.Path) -> None:
    """Phi-3's tokenizer takes the white space around an added token for a part of it."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=alphabet)
    made.train_from_iterator(["<|user|>"], trainer)
    names = ("<|im_start|>", "<|im_end|>")
    made.add_tokens([tokenizers.AddedToken(n, special=special, lstrip=True, rstrip=True) for n in names])
    made.save(str(tmp_path / "tokenizer.json"))
    tokenizer = make_tokenizer(str(tmp_path))
    example = conversation(("user", "Hi \n"), ("assistant", " Yo. \n"))
    encoded = encode_conversation(example, make_template("chatml", tokenizer), tokenizer, max_length=100)
    added = [
        (tokenizer.piece(token), C(c).label)
        for token, c in zip(encoded.tokens.tolist(), encoded.classes.tolist(), strict=True)
        if token in tokenizer.trimming_ids
    ]
    assert added == [
        ("<|im_start|>", "first_header"),
        ("<|im_end|>", "separator"),
        ("<|im_start|>", "header"),
        ("<|im_end|>", "last_stop"),
    ]


def test_special_tokens_that_the_template_writes_into_answers_are_not_those_of_contents(
    tmp_path: pathlib.Path,
) -> None:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<think>", "</think>", "</s>"],
    )
    made.train_from_iterator(["a"], trainer)
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "chat.jinja").write_text(
        "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}<think></think>{% endif %}"
        "{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer = make_tokenizer(str(tmp_path))
    template = make_template(str(tmp_path / "chat.jinja"), tokenizer)
    plain, quoting = (
        conversation(("user", "a"), ("assistant", "b")),
        conversation(("user", "a"), ("assistant", "</think>b")),
    )
    counts = [
        encode_conversation(e, template, tokenizer, max_length=99).special_in_content
        for e in (plain, quoting)
    ]
    assert counts == [0, 1]
