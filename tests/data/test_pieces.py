"""Where pieces lie, counted from their characters, is what the sentencepiece library says of each text."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto

from im_jax.data.tokenizers.pieces import PieceEncoder
from tests.data.synthetic import chats, sentencepiece_model

CHARACTERS = "ab  \u2581\n\t\x00e\u0301\u00e9\u4f60\u597d\U0001d518\U0001f600\ufeff\ufb01\u1e9b\u0323<>"


def texts(count: int) -> list[str]:
    rng = random.Random(0)
    words = [message["content"] for chat in chats(40) for message in chat]
    made = ["".join(rng.choices(CHARACTERS, k=rng.randrange(12))) for _ in range(count)]
    return ["", *made, *words, *(f"{rng.choice(words)}{text}" for text in made)]


def model(path: Path, **settings: object) -> ModelProto:
    if not settings:
        found: ModelProto = ModelProto.FromString(sentencepiece_model(path).read_bytes())
        found.normalizer_spec.add_dummy_prefix = False
        return found
    made = io.BytesIO()
    words = (message["content"] for chat in chats(200) for message in chat)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=words,
        model_writer=made,
        vocab_size=600,
        hard_vocab_limit=False,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
        **settings,
    )
    return ModelProto.FromString(made.getvalue())


@pytest.mark.parametrize(
    "settings",
    [
        {},  # as Llama's: bytes for what has no piece, no character changed
        {"model_type": "bpe", "normalization_rule_name": "identity"},  # unknown tokens of several characters
        {"model_type": "unigram", "normalization_rule_name": "nmt_nfkc", "byte_fallback": True},
    ],
)
def test_pieces_lie_where_the_library_says(settings: dict[str, object], tmp_path: Path) -> None:
    proto = model(tmp_path, **settings)
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    given = texts(400)
    found = PieceEncoder(processor, proto).encode(given)
    assert len(found) == len(given)
    for text, encoding in zip(given, found, strict=True):
        told = processor.encode(text, return_type="offset_mapping")
        assert encoding.ids.tolist() == told["ids"]
        pairs = np.stack([encoding.starts, encoding.ends], axis=1).tolist()
        assert pairs == [list(pair) for pair in told["offsets"]], text
