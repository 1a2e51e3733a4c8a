"""Special tokens that a configuration names: one token each, wherever the tokenizer has them, as in transformers."""

import json
import pathlib
from typing import Any

import pytest
import tokenizers
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizers import decoders, models, normalizers, pre_tokenizers

from im_jax.data.tokenizers import make_tokenizer
from tests.data import synthetic
from tests.data.test_added_tokens import sentencepiece_folder

PLAIN = {"special": True, "lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
TEXTS = ("a<end>b", "a <end> b", "<end>\n<y>a", "ab<y> <z><end>", " <z> b")


def bytes_with(folder: pathlib.Path, added: dict[str, dict[str, bool]], config: dict[str, Any]) -> None:
    """A byte-level tokenizer whose vocabulary has `<end>` and `<y>`, which nothing merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {text: i for i, text in enumerate([*letters, "<end>", "<y>"])}
    made = tokenizers.Tokenizer(models.BPE(words, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    _save(made, folder, added, config)


def spaces_with(folder: pathlib.Path, added: dict[str, dict[str, bool]], config: dict[str, Any]) -> None:
    """One as Llama 2 has it: a space before each part of a text between special tokens."""
    words = {text: i for i, text in enumerate(["<unk>", *"\u2581abdeny<>\nz", "<end>", "<y>"])}
    made = tokenizers.Tokenizer(models.BPE(words, [], unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    made.decoder = decoders.Replace("\u2581", " ")
    _save(made, folder, added, config)


def _save(
    made: tokenizers.Tokenizer,
    folder: pathlib.Path,
    added: dict[str, dict[str, bool]],
    config: dict[str, Any],
) -> None:
    made.add_tokens([tokenizers.AddedToken(text, **flags) for text, flags in added.items()])
    made.save(str(folder / "tokenizer.json"))
    flags = config.pop("flags", {})
    if flags:
        config["added_tokens_decoder"] = {
            str(made.token_to_id(text)): {"content": text} | of for text, of in flags.items()
        }
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def entry(text: str, **flags: bool) -> dict[str, Any]:
    return {"content": text, "__type": "AddedToken"} | PLAIN | flags


CASES: dict[str, tuple[dict[str, dict[str, bool]], dict[str, Any]]] = {
    "only in the vocabulary": ({}, {"eos_token": "<end>"}),
    "with flags": ({}, {"eos_token": entry("<end>", rstrip=True)}),
    "whose own flags count": ({"<end>": PLAIN | {"rstrip": True}}, {"eos_token": entry("<end>")}),
    "not special by itself": ({"<end>": PLAIN | {"special": False}}, {"eos_token": "<end>"}),
    "in a list": ({}, {"additional_special_tokens": ["<y>"]}),
    "in a list of objects": ({}, {"additional_special_tokens": [entry("<y>", lstrip=True)]}),
    "new ones": ({}, {"eos_token": "<end>", "extra_special_tokens": ["<y>", "<z>"]}),
    "new ones with names": ({}, {"extra_special_tokens": {"image_token": "<z>"}}),
    "new ones behind padding": ({}, {"pad_token": "<pad>", "additional_special_tokens": ["<z>"]}),
    "flags beside it": ({"<end>": PLAIN}, {"flags": {"<end>": PLAIN | {"rstrip": True}}}),
    "flags that it has alone": ({"<end>": PLAIN | {"lstrip": True}}, {"flags": {"<end>": PLAIN}}),
    "flags beside it, looked for last": ({"<end>": PLAIN}, {"flags": {"<end>": PLAIN | {"normalized": True}}}),
}  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize("kind", [bytes_with, spaces_with])
@pytest.mark.parametrize("case", CASES)
def test_ids_are_those_of_transformers(case: str, kind: Any, tmp_path: pathlib.Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    added, config = CASES[case]
    kind(tmp_path, added, dict(config))
    ours, peer = make_tokenizer(str(tmp_path)), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert ours.encode(text).ids.tolist() == peer.encode(text, add_special_tokens=False), text
    assert ours.special_ids >= set(peer.all_special_ids)


@pytest.mark.parity
@pytest.mark.parametrize(
    "config",
    [
        {"eos_token": "WORD"},
        {"additional_special_tokens": ["<z>", "WORD"]},
        {"pad_token": "<pad>", "extra_special_tokens": ["<z>"]},
        {"added_tokens_decoder": {"NEXT": entry("<x>", rstrip=True)}, "eos_token": "<x>"},
        {"added_tokens_decoder": {"NEXT": entry("<x>", lstrip=True, special=False)}},
        {"added_tokens_decoder": {"2": entry("</s>", rstrip=True, special=False)}},
    ],
)
def test_ids_of_a_sentencepiece_model_are_those_of_transformers(
    config: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    model = synthetic.sentencepiece_model(tmp_path)
    pieces = [piece.piece for piece in ModelProto.FromString(model.read_bytes()).pieces]
    word = next(piece for piece in pieces[300:] if len(piece) > 2 and piece.isalpha())
    text = json.dumps(config | {"tokenizer_class": "LlamaTokenizer"})
    named = text.replace("WORD", word).replace("NEXT", str(len(pieces)))
    (tmp_path / "tokenizer_config.json").write_text(named)
    ours, peer = make_tokenizer(str(tmp_path)), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in (f"add {word} the", f"<z>{word}<x> the</s> \n a", f"the <x> <z>\n{word}", "</s> a<pad>b"):
        assert ours.encode(text).ids.tolist() == peer.encode(text, add_special_tokens=False), text


def test_an_eos_that_only_the_vocabulary_has_is_one_token(tmp_path: pathlib.Path) -> None:
    bytes_with(tmp_path, {}, {"eos_token": "<end>"})
    ours = make_tokenizer(str(tmp_path))
    assert ours.encode("<end>").ids.tolist() == [ours.eos_id] == [256]
    assert ours.special_ids == {256} and ours.vocab_size == 258


def test_only_lists_make_new_tokens(tmp_path: pathlib.Path) -> None:
    bytes_with(tmp_path, {}, {"pad_token": "<pad>", "sep_token": "<sep>"})
    assert make_tokenizer(str(tmp_path)).vocab_size == 258
    bytes_with(tmp_path, {}, {"pad_token": "<pad>", "additional_special_tokens": ["<z>"]})
    ours = make_tokenizer(str(tmp_path))
    assert ours.encode("<z><pad>").ids.tolist() == [259, 258]
    assert (ours.vocab_size, ours.special_ids) == (260, {258, 259})


def test_named_pieces_of_a_sentencepiece_model_are_special(tmp_path: pathlib.Path) -> None:
    config = {"eos_token": "b", "additional_special_tokens": ["<z>"]}
    ours = sentencepiece_folder(tmp_path, config)
    assert ours.encode("ab<z>a").ids.tolist() == [4, 5, 6, 4]
    assert (ours.eos_id, ours.vocab_size, ours.special_ids) == (5, 7, {0, 1, 2, 5, 6})
    assert ours.decode([4, 5, 6, 4]) == "aa"


def test_which_tokens_take_white_space_is_told(tmp_path: pathlib.Path) -> None:
    bytes_with(tmp_path, {"<end>": PLAIN | {"rstrip": True, "special": False}}, {})
    assert make_tokenizer(str(tmp_path)).trimming_ids == {256}
    folder = tmp_path / "model"
    folder.mkdir()
    beside = {"added_tokens_decoder": {"6": {"content": "<x>", "lstrip": True}, "7": {"content": "<y>"}}}
    assert sentencepiece_folder(folder, beside).trimming_ids == {6}
