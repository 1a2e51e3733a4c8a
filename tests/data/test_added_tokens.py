"""Tokens added beside a tokenizer: their ids, which are special, the spaces they take, and contradictions."""

import json
import pathlib

import pytest
import tokenizers
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizers import models, pre_tokenizers

from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.errors import DataError
from tests.data import synthetic
from tests.data.test_tokenizer_json import word_level


def sentencepiece_folder(
    folder: pathlib.Path, config: dict[str, object], files: dict[str, object] | None = None
) -> Tokenizer:
    """Four pieces, whose ids are their places, with files beside them."""
    model = ModelProto()
    for text, kind in (("<unk>", 2), ("<s>", 3), ("</s>", 3), ("\u2581", 1), ("a", 1), ("b", 1)):
        model.pieces.add(piece=text, type=kind, score=0.0)
    model.trainer_spec.model_type = 2
    model.trainer_spec.vocab_size = len(model.pieces)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    for name, value in ({"tokenizer_config.json": config} | (files or {})).items():
        (folder / name).write_text(json.dumps(value))
    return make_tokenizer(str(folder))


def added(**tokens: dict[str, object]) -> dict[str, object]:
    """A configuration with `i6={"content": "<x>"}` as token 6."""
    return {"added_tokens_decoder": {name[1:]: entry for name, entry in tokens.items()}}


def test_tokens_added_beside_a_sentencepiece_model_have_their_ids(tmp_path: pathlib.Path) -> None:
    config = added(i6={"content": "<end>", "special": True}, i9={"content": "<tool>"})
    ours = sentencepiece_folder(tmp_path, config | {"eos_token": "<end>", "add_bos_token": False})
    text = "a<end>b<tool>"
    encoding = ours.encode(text)
    assert encoding.ids.tolist() == [4, 6, 5, 9]
    assert [text[s:e] for _, s, e in zip(*encoding, strict=True)] == ["a", "<end>", "b", "<tool>"]
    assert (ours.vocab_size, ours.eos_id, ours.eos_text, ours.adds_bos) == (10, 6, "<end>", False)
    assert ours.decode(encoding.ids) == "ab<tool>"  # one that is not special is text
    assert ours.piece(7) == "<unused 7>"


def test_older_files_tell_added_tokens_and_which_are_special(tmp_path: pathlib.Path) -> None:
    files = {
        "added_tokens.json": {"<end>": 6, "<tool>": 7},
        "special_tokens_map.json": {"eos_token": {"content": "<end>"}},
    }
    ours = sentencepiece_folder(tmp_path, {}, files)
    assert ours.encode("<tool>a<end>").ids.tolist() == [7, 4, 6]
    assert ours.special_ids == {0, 1, 2, 6}
    assert ours.eos_id == 6


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("special", ["a", " ", "<x>", " ", "b"]),
        ("lstrip", ["a", " <x>", " ", "b"]),
        ("rstrip", ["a", " ", "<x> ", "b"]),
    ],
)
def test_added_tokens_take_the_spaces_that_their_flags_say(
    flag: str, expected: list[str], tmp_path: pathlib.Path
) -> None:
    ours = sentencepiece_folder(tmp_path, added(i6={"content": "<x>", flag: True}))
    text = "a <x> b"
    assert [text[s:e] for _, s, e in zip(*ours.encode(text), strict=True)] == expected


def test_a_single_word_is_not_found_inside_another(tmp_path: pathlib.Path) -> None:
    ours = sentencepiece_folder(tmp_path, added(i6={"content": "ab", "single_word": True}))
    assert ours.encode("ab").ids.tolist() == [6]
    assert ours.encode("aba ab").ids.tolist() == [4, 5, 4, 3, 6]


@pytest.mark.parametrize("flag", ["special", "lstrip", "rstrip", "single_word", "normalized"])
def test_added_tokens_are_cut_out_as_by_the_tokenizers_library(flag: str, tmp_path: pathlib.Path) -> None:
    flags = {"special": False, "normalized": False} | {flag: True}
    names = ("<x>", "<x>y", "ab")
    entries = {f"i{6 + i}": {"content": name} | flags for i, name in enumerate(names)}
    ours = sentencepiece_folder(tmp_path, added(**entries))
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, "\u2581": 3, "a": 4, "b": 5}
    peer = tokenizers.Tokenizer(models.BPE(words, [], unk_token="<unk>"))
    peer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    peer.add_tokens([tokenizers.AddedToken(name, **flags) for name in names])
    for text in ("a <x> b", "<x><x>y", "  <x>  <x>  ", "ab a ab", "aab", "ab_ab", "b<x>ab", " ab ab "):
        if "_" not in text or flag == "single_word":
            expected = peer.encode(text, add_special_tokens=False)
            assert [i for i in ours.encode(text).ids if i] == [i for i in expected.ids if i], text


def test_tokens_only_in_the_configuration_of_a_tokenizer_json_are_added(tmp_path: pathlib.Path) -> None:
    config = added(i3={"content": "<s>"}, i4={"content": "<end>", "special": True}) | {"eos_token": "<end>"}
    ours = word_level(tmp_path, ["<s>"], config=config)
    assert ours.encode("a<end>b").ids.tolist() == [0, 4, 1]
    assert (ours.vocab_size, ours.eos_id, ours.special_ids) == (5, 4, {3, 4})


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (added(i4={"content": "<x>"}), "token 4 is '<x>', but the model says 'a'"),
        (added(i6={"content": "a"}), "token 6 is 'a', but in the model that is token 4"),
        (added(i6={"content": "<x>"}, i7={"content": "<x>"}), "'<x>' is token 6 and token 7"),
        (added(i4000000000={"content": "<x>"}), "the id of '<x>' is 4000000000"),
        ({"added_tokens_decoder": {"-1": {"content": "<x>"}}}, "the id of '<x>' is '-1'"),
        (added(i6={"content": "<x>", "lstrip": "no"}), "lstrip of '<x>' is 'no', not true or false"),
        (added(i6={}), "no text for token '6'"),
        ({"added_tokens_decoder": [1]}, "added_tokens_decoder is no JSON object"),
        ({"eos_token": "<end>"}, "eos_token is '<end>', but neither"),
    ],
)
def test_files_that_contradict_the_model_are_refused(
    config: dict[str, object], reason: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(DataError) as error:
        sentencepiece_folder(tmp_path, config)
    assert reason in str(error.value)


def test_a_gap_that_the_tokenizers_library_cannot_leave_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"'<x>' is token 9, but with tokenizer.json it is 4"):
        word_level(tmp_path, ["<s>"], config=added(i9={"content": "<x>"}))


@pytest.mark.parity
@pytest.mark.parametrize("real", [True, False], ids=["Mistral", "made here"])
def test_added_tokens_equal_transformers(
    real: bool, request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    if real:
        model = request.getfixturevalue("shared_data") / "mistral_tokenizer" / "tokenizer.model.v1"
        (tmp_path / "tokenizer.model").write_bytes(model.read_bytes())
    else:
        synthetic.sentencepiece_model(tmp_path)
    end = make_tokenizer(str(tmp_path / "tokenizer.model")).vocab_size
    config = {
        "added_tokens_decoder": {
            str(end): {"content": "<|im_end|>", "special": True},
            str(end + 1): {"content": "<|im_start|>", "special": True},
        },
        "eos_token": "<|im_end|>",
        "tokenizer_class": "LlamaTokenizer",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours, peer = make_tokenizer(str(tmp_path)), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("<|im_start|>user\nHi there<|im_end|>\nok", "a<|im_end|>", "<|im_start|><|im_end|>b"):
        assert ours.encode(text).ids.tolist() == peer.encode(text, add_special_tokens=False), text
    assert ours.eos_id == peer.eos_token_id == end
