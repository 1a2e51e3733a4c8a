"""The sweeps of the paper have its rows, and one row alone is what the sweep would run."""

import numpy as np
import pytest

from im_jax.config import Config, LossConfig, difference, with_overrides
from im_jax.data.recipes.registry import find
from im_jax.data.tokenizers.byte import ByteTokenizer
from im_jax.errors import ConfigError
from im_jax.evaluation.harness.paper import CATEGORIES, MEANS
from im_jax.losses.policy import make_policy
from im_jax.studies.instruction_modelling import NLP_MEASURES, SEVEN
from im_jax.studies.instruction_modelling_tiers import SIZES
from im_jax.studies.registry import prepare
from im_jax.sweeps.cells import expand
from im_jax.sweeps.checks import checked_cells
from im_jax.sweeps.loading import load_sweep
from im_jax.token_classes import TokenClass
from im_jax.train import run as train_command
from tests.conftest import REPOSITORY
from tests.training.tiny import tiny_config

PAPER = REPOSITORY / "configs" / "paper"
ROWS = {
    "prompt_weights": 3 * 6,
    "table_1": 7 * 3,  # sets x IT, NEFTune, IM; of the base and the chat model nothing is trained
    "table_1_one_gpu": 7 * 3,
    "table_4_one_gpu": 7 * 2,
    "table_2": 7 * 2,
    "table_7": 4,
    "table_3": 2 * 2 + 2,  # sets x with and without; and two other weights in Table 7
    "table_4": 7 * 2,
    "figure_2_left": (13 + 3) * 2,
    "figure_2_right": 6 * 2,
    "figure_4": 5 * 5 * 2,
    "figure_5_llama_2_13b": 7 * 2,
    "figure_5_opt_6_7b": 7 * 2,
    "figure_6": 4 * 2,
}


def test_every_sweep_has_the_rows_of_the_paper_and_says_how_many() -> None:
    assert {path.stem for path in PAPER.glob("*.py")} == set(ROWS)
    for name, rows in ROWS.items():
        path = PAPER / f"{name}.py"
        assert len(expand(load_sweep(path, None))) == rows
        assert f"; {rows} runs." in path.read_text(encoding="utf-8").partition("\n")[0]


def test_training_sets_have_the_sizes_of_table_1() -> None:
    assert [find(name).records for name in SEVEN] == [5305, 2996, 9229, 13533, 13533, 13533, 1030]


def test_what_is_measured_of_the_data_is_in_the_summary_of_a_run() -> None:
    data = prepare(tiny_config(), ByteTokenizer(), make_policy(LossConfig()).largest()).as_dict()
    names = [measure.name for measure in load_sweep(PAPER / "figure_6.py", None).every_measure()]
    trained = ["examples", "instruction_output_ratio_words"]
    assert names == [*(f"data.trained.{name}" for name in trained), "heldout.nll/assistant"]
    assert [*data["trained"]] == trained


def test_a_subset_has_the_ratio_of_its_own_examples() -> None:
    config, found = tiny_config(), {}
    config.data.num_generated, config.data.max_length = 400, 256
    for ratio in (1.0, 3.0, 8.0):
        config.data.subset.examples, config.data.subset.ratio = 60, ratio
        data = prepare(config, ByteTokenizer(), make_policy(LossConfig()).largest()).as_dict()
        assert data["trained"]["examples"] == 60 - config.eval.num_examples
        found[ratio] = data["trained"]["instruction_output_ratio_words"]
    assert found[1.0] < 2 < found[3.0] < 4 < found[8.0]


def test_categories_are_those_of_the_paper_s_list() -> None:
    names = [measure.name for measure in NLP_MEASURES]
    assert names[1:] == [f"nlp.im_paper: {category}/mean" for category in CATEGORIES]
    assert names[0].removeprefix("nlp.im_paper: ").removesuffix("/mean") in MEANS


@pytest.mark.parametrize("tier", SIZES[:2])
def test_small_sizes_are_valid_and_keep_the_methods(tier: str) -> None:
    for path in (path for path in PAPER.glob("*.py") if "TIERS" in path.read_text(encoding="utf-8")):
        full, small = load_sweep(path, "full"), load_sweep(path, tier)
        cells = checked_cells(small)
        assert len(cells) <= (12 if tier == "smoke" else 60), path.name
        assert {cell.config.data.source for cell in cells} == {"generated"}
        kept = full.axes.keys() - {"data", "examples", "epochs"}
        assert all(small.axes[name] == full.axes[name] for name in kept)
        assert small.every_comparison() == full.every_comparison() and len(small.seeds) > 1


def test_weights_of_instructions_go_from_those_of_it_to_those_of_im() -> None:
    axis = load_sweep(PAPER / "prompt_weights.py", None).axes["weight"]
    found = {
        label: make_policy(with_overrides(Config(), overrides).loss).largest()
        for label, overrides in axis.items()
    }
    for label, policy in (("0", "it"), ("1", "im")):
        np.testing.assert_array_equal(found[label], make_policy(LossConfig(policy=policy)).largest())
    assert found["0.24"][TokenClass.USER] == np.float32(0.24)


def test_a_row_alone_is_that_of_the_sweep_with_what_flags_say() -> None:
    path = PAPER / "table_4.py"
    words = ["train", f"--config={path}", "--run=lima-im_neftune", "--config.loss.kl.weight=0.1"]
    found = difference(train_command.parse(words).config)
    cells = {cell.run: difference(cell.config) for cell in expand(load_sweep(path, None))}
    assert found == cells["lima-im_neftune"] | {"loss.kl.weight": 0.1}
    assert (found["train.epochs"], found["loss.policy"], found["loss.neftune_alpha"]) == (10.0, "im", 5.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config=FILE"], r"is a sweep; run it with: .*, or one run of it with --run=NAME"),
        (["--config=FILE", "--run=lima-imm"], r"FILE: --run=lima-imm: .*; did you mean lima-im\?"),
        (["--config=OTHER", "--run=im"], r"OTHER has no get_sweep\(\)"),
        (["--run=lima-im"], "no configuration given"),
    ],
)
def test_a_row_that_there_is_not_is_one_line(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    files = {"FILE": "configs/paper/table_4.py", "OTHER": "configs/cpu_debug.py"}
    for name, file in files.items():
        words, message = [word.replace(name, file) for word in words], message.replace(name, file)
    with pytest.raises(ConfigError, match=message):
        train_command.parse(["train", *words])
