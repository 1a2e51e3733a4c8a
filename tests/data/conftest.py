"""Tokenizers that several files test: real ones where they are, small ones of the same kinds anywhere."""

import pathlib

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from im_jax.data.tokenizers import Tokenizer, make_tokenizer
from tests.data import synthetic


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def mistral(shared_data: pathlib.Path) -> Tokenizer:
    return make_tokenizer(str(shared_data / "mistral_tokenizer" / "tokenizer.model.v1"))


@pytest.fixture(scope="session")
def stories(shared_data: pathlib.Path) -> Tokenizer:
    return make_tokenizer(str(shared_data / "tinyllamas_stories260k" / "tok512.bin"))


@pytest.fixture(scope="session")
def small_bpe(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return make_tokenizer(str(synthetic.byte_level_bpe(tmp_path_factory.mktemp("small_bpe"))))


@pytest.fixture(scope="session")
def small_sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return make_tokenizer(str(synthetic.sentencepiece_model(tmp_path_factory.mktemp("small_sentencepiece"))))


@pytest.fixture(scope="session")
def small_llama2c(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return make_tokenizer(str(synthetic.llama2c_tokenizer(tmp_path_factory.mktemp("small_llama2c"))))
