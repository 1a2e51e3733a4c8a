"""Tokenizers: the ids of the libraries that models were trained with, offsets, and what is recognised."""

import gzip
import itertools
import json
import pathlib
import struct

import numpy as np
import pytest
import tokenizers
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizers import decoders, models, pre_tokenizers, processors

from im_jax.data.tokenizers import Encoding, Tokenizer, make_tokenizer
from im_jax.errors import DataError

GOLDEN_TEXT = "### Instruction:\nWhat's 12+7? naïve 你好\n\n### Response: 19"
MISTRAL_GOLDEN = [
    774, 3133, 3112, 28747, 13, 3195, 28742, 28713, 28705, 28740, 28750, 28806, 28787, 28804, 1879, 28920,
    333, 28705, 29383, 29530, 13, 13, 27332, 12107, 28747, 28705, 28740, 28774,
]  # fmt: skip
GPT2_GOLDEN = [
    21017, 46486, 25, 198, 2061, 338, 1105, 10, 22, 30, 41492, 220, 19526, 254, 25001, 121, 198, 198, 21017,
    18261, 25, 678,
]  # fmt: skip
HARD_TEXTS = [
    "", " ", "a", " a", "  a", "\n a", "▁a", "a</s>", "</s>", "</s> a", "<s>a</s>\nb</s> c<s>", "a<unk>b",
    "<<s>>", "naïve 你好 😀 𓀀 e\u0301", "tab\t\x00 \u00a0x\r\n", GOLDEN_TEXT,
]  # fmt: skip


@pytest.fixture(scope="module")
def gpt2(shared_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    source = shared_data / "gpt2_bpe"
    tokenizer = tokenizers.Tokenizer(
        models.BPE.from_file(str(source / "encoder.json"), str(source / "vocab.bpe"))
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.enable_truncation(4)
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer.save(str(folder / "tokenizer.json"))
    return make_tokenizer(str(folder))


@pytest.fixture(scope="module")
def mistral(shared_data: pathlib.Path) -> Tokenizer:
    return make_tokenizer(str(shared_data / "mistral_tokenizer" / "tokenizer.model.v1"))


@pytest.fixture(scope="module")
def stories(shared_data: pathlib.Path) -> Tokenizer:
    return make_tokenizer(str(shared_data / "tinyllamas_stories260k" / "tok512.bin"))


@pytest.fixture
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return make_tokenizer("bytes") if request.param == "bytes" else request.getfixturevalue(request.param)


each_tokenizer = pytest.mark.parametrize("tokenizer", ["bytes", "gpt2", "mistral", "stories"], indirect=True)


def real_texts(shared_data: pathlib.Path, count: int) -> list[str]:
    with gzip.open(shared_data / "instruction_modelling" / "alpagasus_3k_dolly.jsonl.gz", "rt") as lines:
        rows = [json.loads(next(lines))["messages"] for _ in range(count)]
    return ["</s>\n".join(message["content"] for message in messages) + "</s>" for messages in rows]


def test_golden_ids_of_mistral(mistral: Tokenizer) -> None:
    assert mistral.encode(GOLDEN_TEXT).ids.tolist() == MISTRAL_GOLDEN


def test_golden_ids_of_gpt2(gpt2: Tokenizer) -> None:
    assert gpt2.encode(GOLDEN_TEXT).ids.tolist() == GPT2_GOLDEN


def test_only_a_text_that_opens_with_a_word_gets_a_space(mistral: Tokenizer) -> None:
    def pieces(text: str) -> list[str]:
        return [mistral.piece(int(i)) for i in mistral.encode(text).ids]

    assert pieces("Hi</s>\nHi") == [" Hi", "</s>", "\n", "Hi"]
    assert pieces("<s>Hi") == ["<s>", "Hi"]
    assert pieces(" Hi") == [" Hi"]


@pytest.mark.parity
@pytest.mark.parametrize("file", ["tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3"])
def test_sentencepiece_ids_equal_transformers(file: str, shared_data: pathlib.Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    from transformers.tokenization_utils_base import generate_merges

    path = shared_data / "mistral_tokenizer" / file
    ours = make_tokenizer(str(path))
    pieces = ModelProto.FromString(path.read_bytes()).pieces
    vocabulary = {piece.piece: i for i, piece in enumerate(pieces)}
    # LlamaTokenizer.from_pretrained of transformers 5.23 orders the merges of a .model by id instead of by
    # score, and so cuts repeated spaces as the model never saw them; hence the merges are made here.
    peer = transformers.LlamaTokenizer(
        vocab=vocabulary,
        merges=generate_merges(vocabulary, {piece.piece: piece.score for piece in pieces}),
        additional_special_tokens=[pieces[i].piece for i in sorted(ours.special_ids)],
    )
    texts = [*HARD_TEXTS, "[INST] a [/INST]</s>", *real_texts(shared_data, 1000)]
    for text, encoding in zip(texts, ours.encode_batch(texts), strict=True):
        ids = peer.encode(text, add_special_tokens=False)
        assert encoding.ids.tolist() == ids, text
        assert ours.decode(ids) == peer.decode(ids, skip_special_tokens=True)
        assert ours.decode(ids, skip_special=False) == peer.decode(ids)
    assert (ours.bos_id, ours.eos_id) == (peer.bos_token_id, peer.eos_token_id)


def test_llama2c_ids_equal_its_own_algorithm(stories: Tokenizer, shared_data: pathlib.Path) -> None:
    """llama2.c: begin with characters (bytes where unknown), then merge the best pair until none is left."""
    content = (shared_data / "tinyllamas_stories260k" / "tok512.bin").read_bytes()
    scores: dict[bytes, tuple[float, int]] = {}
    at = 4
    for token_id in range(512):
        score, length = struct.unpack_from("<fi", content, at)
        scores.setdefault(content[at + 8 : at + 8 + length], (score, token_id))
        at += 8 + length

    def encode(text: str) -> list[int]:
        symbols = [character.encode() for character in " " + text]
        while True:
            pairs = [a + b for a, b in itertools.pairwise(symbols)]
            merges = [(scores[pair][0], -i) for i, pair in enumerate(pairs) if pair in scores]
            if not merges:
                break
            i = -max(merges)[1]
            symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
        return [i for s in symbols for i in ([scores[s][1]] if s in scores else [b + 3 for b in s])]

    story = 'Once upon a time, there was a little girl named Lily. She said: "Ça va?"\n\nThe end 你.'
    for text in (story, *real_texts(shared_data, 30)):
        text = text.replace("</s>", "")
        assert stories.encode(text).ids.tolist() == encode(text)
    assert (stories.vocab_size, stories.bos_id, stories.eos_id, stories.eos_text) == (512, 1, 2, "</s>")


@each_tokenizer
def test_offsets_cover_the_text_in_order(tokenizer: Tokenizer) -> None:
    for text in HARD_TEXTS:
        encoding = tokenizer.encode(text)
        assert (np.diff(encoding.starts) >= 0).all()
        assert (encoding.starts <= encoding.ends).all()
        covered = np.zeros(len(text), bool)
        for start, end in zip(encoding.starts, encoding.ends, strict=True):
            covered[start:end] = True
        assert covered.all(), text


@each_tokenizer
def test_offsets_point_at_the_text_of_each_token(tokenizer: Tokenizer) -> None:
    text = "Say hi, naïve 你.\n</s>"
    encoding = tokenizer.encode(text)
    for token_id, start, end in zip(*encoding, strict=True):
        piece = tokenizer.piece(int(token_id))
        if piece.isascii() and not piece.startswith("<0x"):
            assert piece.strip() == text[start:end].strip()


@each_tokenizer
def test_decoding_gives_the_text_back(tokenizer: Tokenizer) -> None:
    for text in ("Say hi, naïve 你 😀.\n\n  Done", GOLDEN_TEXT):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


@each_tokenizer
def test_special_tokens_in_text_are_recognised_and_hidden_when_asked(tokenizer: Tokenizer) -> None:
    eos = tokenizer.eos_text
    assert eos is not None
    ids = tokenizer.encode(f"a{eos}\nb").ids
    assert tokenizer.eos_id in ids
    assert tokenizer.eos_id in tokenizer.special_ids
    assert tokenizer.decode(ids) == "a\nb"
    assert tokenizer.decode(ids, skip_special=False) == f"a{eos}\nb"


@each_tokenizer
def test_a_batch_is_its_texts_one_by_one(tokenizer: Tokenizer) -> None:
    for text, encoding in zip(HARD_TEXTS, tokenizer.encode_batch(HARD_TEXTS), strict=True):
        for ours, alone in zip(encoding, tokenizer.encode(text), strict=True):
            assert ours.dtype == np.int32
            np.testing.assert_array_equal(ours, alone)


def test_pieces_are_readable(gpt2: Tokenizer, mistral: Tokenizer) -> None:
    text = "naïve 42\n你"
    for tokenizer in (gpt2, mistral):
        pieces = [tokenizer.piece(int(i)) for i in tokenizer.encode("a " + text).ids]
        assert "\n" in pieces
        assert any(piece.startswith(" na") for piece in pieces)


def test_bytes() -> None:
    encoding = make_tokenizer("bytes").encode("aé</s>")
    expected = Encoding(np.array([97, 195, 169, 257]), np.array([0, 1, 1, 2]), np.array([1, 2, 2, 6]))
    for ours, column in zip(encoding, expected, strict=True):
        np.testing.assert_array_equal(ours, column)
    assert [make_tokenizer("bytes").piece(i) for i in (10, 97, 195, 257)] == ["\n", "a", "<0xC3>", "</s>"]


def word_level(
    folder: pathlib.Path,
    special: list[str],
    post_processor: processors.PostProcessor | None = None,
    config: dict[str, object] | None = None,
) -> Tokenizer:
    words = {"a": 0, "b": 1, "[UNK]": 2}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    if post_processor is not None:
        tokenizer.post_processor = post_processor
    tokenizer.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return make_tokenizer(str(folder / "tokenizer.json"))


AROUND = processors.TemplateProcessing(single="<B> $A <E>", special_tokens=[("<B>", 3), ("<E>", 4)])


def boundaries(tokenizer: Tokenizer) -> tuple[str | None, str | None, bool]:
    return tokenizer.bos_text, tokenizer.eos_text, tokenizer.adds_bos


def test_bos_and_eos_are_read_from_the_configuration(tmp_path: pathlib.Path) -> None:
    config = {"bos_token": None, "eos_token": {"content": "<E>", "lstrip": False}, "add_bos_token": True}
    assert boundaries(word_level(tmp_path, ["<B>", "<E>"], AROUND, config)) == (None, "<E>", False)


def test_the_configuration_may_take_the_habit_of_adding_bos(tmp_path: pathlib.Path) -> None:
    config = {"bos_token": "<B>", "eos_token": "<E>", "add_bos_token": False}
    assert boundaries(word_level(tmp_path, ["<B>", "<E>"], AROUND, config)) == ("<B>", "<E>", False)


def test_without_configuration_the_post_processor_tells_bos_and_eos(tmp_path: pathlib.Path) -> None:
    tokenizer = word_level(tmp_path, ["<B>", "<E>"], AROUND)
    assert boundaries(tokenizer) == ("<B>", "<E>", True)
    assert tokenizer.encode("a b").ids.tolist() == [0, 1]


def test_usual_names_tell_where_nothing_else_does(tmp_path: pathlib.Path) -> None:
    assert boundaries(word_level(tmp_path, ["<s>", "</s>"])) == ("<s>", "</s>", False)


def test_a_configuration_that_names_an_unknown_token_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r"eos_token is '<end>', but .* no such token"):
        word_level(tmp_path, ["<s>"], config={"eos_token": "<end>"})


def test_missing_or_unknown_files_name_the_field(tmp_path: pathlib.Path) -> None:
    unknown, broken = tmp_path / "notes.bin", tmp_path / "tokenizer.json"
    unknown.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "empty").mkdir()
    broken.write_text("{}")
    for path, reason in [
        (tmp_path / "absent", "is not there"),
        (tmp_path / "empty", "has neither tokenizer.json nor tokenizer.model"),
        (unknown, "is not a tokenizer.json, a SentencePiece model or a llama2.c tokenizer"),
        (broken, "is no tokenizer of the tokenizers library"),
    ]:
        with pytest.raises(DataError, match=reason) as error:
            make_tokenizer(str(path))
        assert "--config.tokenizer.path" in str(error.value)


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


@pytest.mark.parametrize("vocabulary", [{}, {"a": 4_000_000_000}, {"a": -1}])
def test_a_tokenizer_json_of_impossible_ids_is_refused(
    vocabulary: dict[str, int], tmp_path: pathlib.Path
) -> None:
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"}
    (tmp_path / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "added_tokens": [], "model": model})
    )
    with pytest.raises(DataError, match=r"empty vocabulary|the id of 'a' is 4000000000|is no tokenizer"):
        make_tokenizer(str(tmp_path))


@pytest.mark.parity
def test_added_tokens_equal_transformers(shared_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra `parity`")
    model = (shared_data / "mistral_tokenizer" / "tokenizer.model.v1").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(model)
    config = added(
        i32000={"content": "<|im_end|>", "special": True},
        i32001={"content": "<|im_start|>", "special": True},
    )
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(config | {"eos_token": "<|im_end|>", "tokenizer_class": "LlamaTokenizer"})
    )
    ours, peer = make_tokenizer(str(tmp_path)), transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("<|im_start|>user\nHi there<|im_end|>\nok", "a<|im_end|>", "<|im_start|><|im_end|>b"):
        assert ours.encode(text).ids.tolist() == peer.encode(text, add_special_tokens=False), text
    assert ours.eos_id == peer.eos_token_id == 32000
