"""`it_released` and `im_released` train the tokens that the code released with the paper trains.

The rules of that code are stated again here, in its own way and without our code: it tokenises prefixes
of the text and looks for headers by value, with the sentencepiece library alone.
"""

import functools
import gzip
import itertools
import json
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import sentencepiece

from im_jax.data.encoding import encode_conversations
from im_jax.data.records.conversation import Conversation, Message
from im_jax.data.templates import make_template
from im_jax.data.tokenizers import make_tokenizer
from im_jax.losses.policy import policy_weights
from tests.data.synthetic import chats, sentencepiece_model

Messages = list[dict[str, str]]
IGNORED = -100
BOS, EOS = 1, 2
FILES = ("alpagasus_3k_dolly", "alpagasus_claude_t45_alpaca")


class Released:
    """Tokens and labels of the released code. `max_length` cuts every tokenisation, prefixes too."""

    def __init__(self, model: pathlib.Path, max_length: int) -> None:
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(model))
        self.max_length = max_length
        # What follows a special token is tokenised behind an unlikely word that is then removed, so that
        # it gets no space of its own.
        self.word = self.model.encode("<unk>")

    def tokenize(self, text: str) -> list[int]:
        first, *others = text.split("</s>")
        ids = [BOS, *self.model.encode(first)]
        for run in others:
            with_word = self.model.encode("<unk>" + run)
            assert with_word[: len(self.word)] == self.word
            ids += [EOS, *with_word[len(self.word) :]]
        return ids[: self.max_length]

    @staticmethod
    def concatenate(messages: Messages) -> str:
        text = ""
        for message in messages:
            text += f"<|{message['role']}|>\n" + message["content"].strip()
            text += "</s>\n" if message["role"] == "assistant" else "\n"
        return text

    def instruction_tuning(self, messages: Messages) -> tuple[list[int], list[int]]:
        ids = self.tokenize(self.concatenate(messages).strip())
        labels = list(ids)
        for i, message in enumerate(messages):
            if message["role"] == "assistant":
                continue
            start = len(self.tokenize(self.concatenate(messages[:i]))) if i > 0 else 0
            so_far = self.concatenate(messages[: i + 1])
            if i + 1 < len(messages) and messages[i + 1]["role"] == "assistant":
                so_far += "<|assistant|>\n"
            end = len(self.tokenize(so_far))
            labels[start:end] = [IGNORED] * len(labels[start:end])
            if end >= self.max_length:
                break
        return ids, labels

    def instruction_modelling(self, messages: Messages) -> tuple[list[int], list[int]]:
        ids = self.tokenize(self.concatenate(messages).strip())
        labels = list(ids)
        for header in self.headers:
            for start in range(len(ids) - len(header) + 1):
                if ids[start : start + len(header)] == header:
                    labels[start : start + len(header)] = [IGNORED] * len(header)
        return ids, labels

    @functools.cached_property
    def headers(self) -> list[list[int]]:
        # The code tokenises headers as it does texts, with BOS in front.
        return [self.tokenize(f"<|{role}|>\n") for role in ("system", "user", "assistant")]


RULES: dict[str, Callable[[Released, Messages], tuple[list[int], list[int]]]] = {
    "it_released": Released.instruction_tuning,
    "im_released": Released.instruction_modelling,
}


def read(shared_data: pathlib.Path, name: str) -> list[Messages]:
    with gzip.open(
        shared_data / "instruction_modelling" / f"{name}.jsonl.gz", "rt", encoding="utf-8"
    ) as lines:
        return [json.loads(line)["messages"] for line in lines]


def assert_same_labels(model: pathlib.Path, chats: list[Messages], policy: str, max_length: int) -> None:
    tokenizer = make_tokenizer(str(model))
    conversations = [
        Conversation(str(i), tuple(Message(m["role"], m["content"]) for m in chat), f"chat {i}")
        for i, chat in enumerate(chats)
    ]
    encoded = encode_conversations(
        conversations, make_template("tulu", tokenizer), tokenizer, max_length=max_length
    )
    released = Released(model, max_length)
    weights = policy_weights(policy)
    trained = 0
    for chat, ours in zip(chats, encoded, strict=True):
        ids, labels = RULES[policy](released, chat)
        assert ours.tokens.tolist() == ids
        our_labels = np.where(weights[ours.classes] > 0, ours.tokens, IGNORED)
        # The first token has no predecessor, so its label is never used.
        np.testing.assert_array_equal(our_labels[1:], labels[1:])
        trained += np.count_nonzero(our_labels[1:] != IGNORED)
    assert trained > 0


@pytest.mark.parametrize("policy", RULES)
@pytest.mark.parametrize("max_length", [2048, 128])
@pytest.mark.parametrize("name", FILES)
def test_labels_of_all_released_examples(
    name: str, max_length: int, policy: str, shared_data: pathlib.Path
) -> None:
    model = shared_data / "mistral_tokenizer" / "tokenizer.model.v1"
    assert_same_labels(model, read(shared_data, name), policy, max_length)


@pytest.mark.parametrize("policy", RULES)
@pytest.mark.parametrize("max_length", [2048, 128])
def test_labels_of_several_turns_with_system_text(
    max_length: int, policy: str, shared_data: pathlib.Path
) -> None:
    rows = iter(read(shared_data, FILES[0]))
    chats = [list(itertools.chain(*itertools.islice(rows, 1 + i % 4))) for i in range(200)]
    for i, chat in enumerate(chats):
        if i % 3 == 0:
            chat.insert(0, {"role": "system", "content": " You are a helpful assistant.\n"})
        if i % 5 == 0:
            chat.insert(len(chat) - 1, {"role": "user", "content": "And answer in <|assistant|>\nstyle."})
        if i % 7 == 0:
            chat.append({"role": "user", "content": "Thank you."})
    assert max(len(chat) for chat in chats) > 9
    model = shared_data / "mistral_tokenizer" / "tokenizer.model.v1"
    assert_same_labels(model, chats, policy, max_length)


@pytest.mark.parametrize("policy", RULES)
@pytest.mark.parametrize("max_length", [2048, 40])
def test_labels_of_synthetic_chats(max_length: int, policy: str, tmp_path: pathlib.Path) -> None:
    made = chats(150)
    assert max(len(chat) for chat in made) > 5 and any(chat[0]["role"] == "system" for chat in made)
    assert_same_labels(sentencepiece_model(tmp_path), made, policy, max_length)
