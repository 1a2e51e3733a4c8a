"""Models and data made in the tests, so that what is proven on real data is proven without it too."""

import io
import pathlib
import struct

import sentencepiece
import tokenizers
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

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


def llama2c_tokenizer(folder: pathlib.Path) -> pathlib.Path:
    """That model as llama2.c exports it: int32 longest piece; then float32 score, int32 length, bytes of each."""
    model = ModelProto.FromString(sentencepiece_model(folder).read_bytes())
    pieces = [(piece.score, piece.piece.replace("\u2581", " ").encode()) for piece in model.pieces]
    longest = struct.pack("<i", max(len(text) for _, text in pieces))
    path = folder / "tok.bin"
    path.write_bytes(
        longest + b"".join(struct.pack("<fi", score, len(text)) + text for score, text in pieces)
    )
    return path


def byte_level_bpe(folder: pathlib.Path) -> pathlib.Path:
    """A folder with a tokenizer.json as GPT-2's."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator((message["content"] for chat in chats(400) for message in chat), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
