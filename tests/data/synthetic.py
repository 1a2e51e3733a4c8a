"""Models and data made in the tests, so that what is proven on real data is proven without it too."""

import io
import pathlib

import sentencepiece

from im_jax.data.generated import GeneratedSource


def chats(count: int) -> list[list[dict[str, str]]]:
    """Conversations of one to three turns, with and without a system message."""
    source = GeneratedSource(count, seed=1)
    return [[{"role": m.role, "content": m.text} for m in source[i].messages] for i in range(count)]


def sentencepiece_model(folder: pathlib.Path) -> pathlib.Path:
    """A model as those of Llama and Mistral are: BPE with bytes, a space in front, BOS 1 and EOS 2."""
    texts = (message["content"] for chat in chats(400) for message in chat)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts,
        model_writer=model,
        model_type="bpe",
        vocab_size=600,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    path = folder / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return path
