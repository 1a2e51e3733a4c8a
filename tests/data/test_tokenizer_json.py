"""A `tokenizer.json` and what lies beside it: BOS, EOS, impossible ids; and files that are no tokenizers."""

import json
import pathlib

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors

from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from im_jax.errors import DataError


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
