"""Configurations whose examples are kept, what comes of them, and which sets there are."""

from pathlib import Path
from typing import Any

import numpy as np

from im_jax.config import Config, DataConfig, EvalConfig, TokenizerConfig
from im_jax.data.prepare import Prepared, prepare
from im_jax.data.tokenizers import make_tokenizer, tokenizer_path
from im_jax.losses.policy import policy_weights


def config(path: Path, **data: Any) -> Config:
    settings = {"source": "jsonl", "path": str(path), "max_length": 256, "on_bad_example": "skip"}
    settings |= {"cache": str(path.parent / "cache")}
    return Config(
        data=DataConfig(**settings | data),
        eval=EvalConfig(num_examples=50),
        tokenizer=TokenizerConfig(path="bytes"),
    )


def prepared(config: Config) -> Prepared:
    return prepare(config, make_tokenizer(tokenizer_path(config)), policy_weights("im"))


def kept(config: Config) -> list[Path]:
    """The sets that are there as a whole, and nothing else beside them."""
    found = list((Path(config.data.cache) / "sets").iterdir())
    sets = [place for place in found if ".lock." not in place.name]
    assert all(len(place.name) == 64 for place in sets), found
    return sets


def assert_same(ours: Prepared, theirs: Prepared) -> None:
    assert ours.fingerprint() == theirs.fingerprint() and ours.as_dict() == theirs.as_dict()
    assert ours.report.summary("data") == theirs.report.summary("data")
    for rows, others in ((ours.train_rows, theirs.train_rows), (ours.heldout_rows, theirs.heldout_rows)):
        assert len(rows) == len(others)
        assert all(rows.ids(number) == others.ids(number) for number in range(0, len(rows), 10))
        for start in range(0, len(rows), 50):
            numbers = np.arange(start, min(start + 50, len(rows)))
            for field, other in zip(rows.batch(numbers), others.batch(numbers), strict=True):
                np.testing.assert_array_equal(field, other)
