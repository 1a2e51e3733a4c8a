"""Records of published sets become records that are read, on small ones of the same columns."""

import collections
import itertools
import pathlib

import numpy as np
import pytest

from im_jax.data.recipes import registry
from im_jax.data.recipes.conversions import (
    BestPath,
    Chain,
    Columns,
    Exchange,
    Instruction,
    Pieces,
    Speakers,
    Turns,
)
from im_jax.data.recipes.first_come import first_come
from im_jax.data.recipes.names import NAMES, without_names
from im_jax.data.recipes.places import how_to_fetch, paths_of
from im_jax.data.recipes.recipe import Fields, LeftOut
from im_jax.data.recipes.wrappers import WITH_INPUT, WITHOUT_INPUT, choose, wrapped
from im_jax.errors import DataError


def says(record: object) -> list[str]:
    """The contents of a record's messages."""
    assert isinstance(record, dict)
    assert [turn["role"] for turn in record["messages"]] == ["user", "assistant"] * (
        len(record["messages"]) // 2
    )
    return [turn["content"] for turn in record["messages"]]


@pytest.mark.parametrize("wrappers", [WITH_INPUT, WITHOUT_INPUT])
def test_wrappers_are_chosen_as_often_as_their_weights_say(wrappers: tuple) -> None:
    assert [wrapper.weight for wrapper in wrappers] == [0.2, 0.1, 0.1, *[0.05] * 10, 0.1]
    count = 20_000
    chosen = collections.Counter(choose(wrappers, number) for number in range(count))
    for wrapper in wrappers:
        deviation = (wrapper.weight * (1 - wrapper.weight) / count) ** 0.5
        assert abs(chosen[wrapper] / count - wrapper.weight) < 4 * deviation


def test_a_wrapper_is_a_function_of_seed_and_number() -> None:
    first = [choose(WITH_INPUT, number) for number in range(50)]
    assert first == [choose(WITH_INPUT, number) for number in range(50)]
    assert first != [choose(WITH_INPUT, number, seed=43) for number in range(50)]


def test_wrapped_text_holds_all_parts_and_nothing_else_of_the_data() -> None:
    numbers = {}
    for number in itertools.count():
        user, assistant = wrapped(" Do {this}.\n", " on {0} ", " done {} ", number)
        numbers[choose(WITH_INPUT, number)] = user
        assert "Do {this}." in user and "on {0}" in user and assistant == "done {}"
        if len(numbers) == len(WITH_INPUT):
            break
    plain = [user for wrapper, user in numbers.items() if wrapper.weight >= 0.1][:3]
    assert set(numbers.values()) >= {
        "Do {this}.\n\non {0}\n\n",
        "Do {this}.\non {0}\n\n",
        "Do {this}.\non {0}\n",
    }
    assert plain


def test_without_input_a_newline_may_open_the_answer() -> None:
    made = {wrapped("Do it.", " \n", "done", number) for number in range(300)}
    assert {("Do it.\n\n", "done"), ("Do it.\n", "done"), ("Do it.", "\ndone")} <= made
    assert len(made) == len(WITHOUT_INPUT)


def test_instructions_are_wrapped_or_plain() -> None:
    record = {"instruction": "Add.", "context": "1 + 2", "response": "3", "category": "sums"}
    wrap = Instruction(input="context", output="response")
    user, answer = says(wrap(record, 7))
    assert (user, answer) == wrapped("Add.", "1 + 2", "3", 7)
    plain = Instruction(input="context", output="response", wrap=False)(record, 7)
    assert plain == {"instruction": "Add.", "input": "1 + 2", "output": "3"}
    assert Instruction()({"instruction": "a", "input": None, "output": "  "}, 0) == LeftOut(
        "without an answer"
    )
    ready = {"messages": [{"role": "user", "content": "a"}], "id": "x", "dataset": "d"}
    assert Instruction()(ready, 0) == {"messages": ready["messages"], "id": "x"}
    odd = {"instruction": ["a"], "output": "b"}
    assert Instruction()(odd, 0) is odd, "the reader of records says what is wrong"


def test_turns_lose_a_last_one_of_the_user() -> None:
    assert says(Turns()({"conversations": ["a", "b", "c"], "source": "s"}, 0)) == ["a", "b"]
    assert Turns()({"conversations": ["a"]}, 0) == LeftOut("without an answer")


def test_turns_of_speakers_become_messages() -> None:
    turns = [
        {"from": "system", "value": "s", "weight": None},
        {"from": "human", "value": "a", "weight": 0.0},
        {"from": "gpt", "value": "b", "weight": 0.5},
    ]
    made = Speakers(id="idx", system="sys")({"idx": 7, "sys": None, "conversations": turns, "x": 1}, 0)
    roles = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]
    assert made == {"messages": [*roles, {"role": "assistant", "content": "b", "weight": 0.5}], "id": 7}
    for speaker in ("martian", ["human"], None):
        odd = {"conversations": [{"from": speaker, "value": "a"}]}
        assert Speakers()(odd, 0) is odd


def test_exchanges_close_their_question_as_flan_does() -> None:
    convert = Exchange("inputs", "targets", closed=True)
    assert says(convert({"inputs": "Why?", "targets": "So."}, 0)) == ["Why?\n", "So."]
    assert says(convert({"inputs": "A: ", "targets": "B"}, 0)) == ["A: ", "B"]
    orca = Exchange("question", "response", system="system_prompt")
    assert orca({"id": "q", "system_prompt": "Be brief.", "question": "a", "response": "b"}, 0) == {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        "system": "Be brief.",
        "id": "q",
    }
    assert "system" not in orca({"system_prompt": "", "question": "a", "response": "b"}, 0)


def sharegpt(*turns: str, **more: str) -> Fields:
    return {
        "id": "c",
        "conversations": [dict(zip(("from", "value"), t.split(":"), strict=True)) for t in turns],
    }


def test_long_conversations_are_cut_into_pieces_of_whole_exchanges() -> None:
    long = "x" * 40  # ten tokens as they are counted, and six for the turn
    turns = [f"human:{long}", f"gpt:{long}"] * 3
    made = Pieces(most=64)(sharegpt(*turns), 0)
    assert isinstance(made, list)
    assert [(piece["id"], len(piece["messages"])) for piece in made] == [("c_0", 4), ("c_4", 2)]
    huge = [
        f"human:{long}",
        f"gpt:{long}",
        f"human:{long * 9}",
        f"gpt:{long}",
        f"user:{long}",
        f"chatgpt:{long}",
    ]
    assert [p["id"] for p in Pieces(most=64)(sharegpt(*huge), 0)] == ["c_0", "c_4"]
    assert Pieces()(sharegpt("human:a", "bing:b"), 0) == LeftOut("with a turn of system or bing")
    assert Pieces()(sharegpt("gpt:a", "human:b"), 0) == LeftOut("not in turns of user and assistant")
    odd = sharegpt("human:a", "martian:b")
    assert Pieces()(odd, 0) is odd


def test_the_best_path_takes_the_reply_of_the_highest_quality() -> None:
    def node(role: str, text: str, quality: float | None, *replies: Fields, deleted: bool = False) -> Fields:
        labels = {} if quality is None else {"quality": {"value": quality, "count": 1}}
        return {"role": role, "text": text, "labels": labels, "replies": list(replies), "deleted": deleted}

    worse = node("assistant", "worse", 0.2)
    gone = node("assistant", "gone", 0.9, deleted=True)
    ask = node("prompter", "more?", None, node("assistant", "low", 0.1), node("assistant", "high", 0.3))
    best = node("assistant", "best", 0.5, ask)
    tree = {"message_tree_id": "t", "prompt": node("prompter", "hi", None, worse, gone, best)}
    made = BestPath()(tree, 0)
    assert says(made) == ["hi", "best", "more?", "high"]
    assert isinstance(made, dict) and made["id"] == "t"
    open_end = {
        "prompt": node("prompter", "hi", None, node("assistant", "a", 1.0, node("prompter", "b", None)))
    }
    assert isinstance(BestPath()(open_end, 0), LeftOut)


def test_conversations_with_names_are_left_out() -> None:
    assert len(NAMES) == 22
    clean = {"messages": [{"role": "user", "content": "a palace"}, {"role": "assistant", "content": "b"}]}
    assert without_names(clean, 0) is clean
    for name in NAMES:
        dirty = {"messages": [{"role": "user", "content": f"x{name.swapcase()}y"}]}
        assert without_names(dirty, 0) == LeftOut("names a model or its maker")
    assert isinstance(without_names({"messages": [{"role": "user", "content": "bombard"}]}, 0), LeftOut)
    chain = Chain(Exchange("a", "b"), without_names)
    assert says(chain({"a": "q", "b": "r"}, 0)) == ["q", "r"]
    assert chain({"a": "q", "b": "Claude"}, 0) == LeftOut("names a model or its maker")


def test_columns_keep_what_is_named() -> None:
    record = {"messages": [1], "prompt": "p", "prompt_id": "i", "category": None}
    assert Columns({"messages": "messages", "prompt_id": "id"})(record, 0) == {"messages": [1], "id": "i"}


def test_first_come_takes_the_share_of_each_source_in_order() -> None:
    rng = np.random.default_rng(0)
    for share in (0.1, 0.2, 0.5, 1.0):
        for _ in range(20):
            sources = [f"s{n}" for n in rng.integers(0, 7, size=int(rng.integers(1, 300)))]
            # By the definition, slowly.
            wanted = int(share * len(sources))
            quota = {s: int(sources.count(s) / len(sources) * wanted) for s in set(sources)}
            gap = wanted - sum(quota.values())
            expected = []
            for number, source in enumerate(sources):
                of_quota = sum(1 for n in expected if sources[n] == source)
                further = len(expected) - sum(
                    min(quota[s], sum(sources[n] == s for n in expected)) for s in quota
                )
                if of_quota < quota[source] or further < gap:
                    expected.append(number)
            assert np.flatnonzero(first_come(sources, share)).tolist() == expected
            assert len(expected) == wanted


def test_files_of_a_recipe_are_found_in_a_folder(tmp_path: pathlib.Path) -> None:
    tulu, dolly = registry.find("tulu_v2"), registry.find("alpagasus_dolly_3k")
    with pytest.raises(
        DataError, match=r"holds no data/train-\*\.parquet for the recipe tulu_v2\. Fetch it with `hf"
    ):
        paths_of(tulu, str(tmp_path))
    for name in (
        "data/train-00001-of-2.parquet",
        "data/train-00000-of-2.parquet",
        "x/dolly_3k.json.gz",
        "b.json",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(tmp_path / "data" / f"train-0000{n}-of-2.parquet") for n in (0, 1)]
    assert paths_of(tulu, str(tmp_path)) == ",".join(found)
    assert paths_of(tulu, str(tmp_path / "data")) == ",".join(found)
    assert paths_of(dolly, str(tmp_path)) == str(tmp_path / "x" / "dolly_3k.json.gz")
    assert paths_of(dolly, "some/file.json") == "some/file.json"
    deep = tmp_path / "a" / "b" / "c" / "d" / "e"
    deep.mkdir(parents=True)
    (deep / "train.jsonl").touch()
    with pytest.raises(DataError, match=r"holds no train\.jsonl for the recipe lima"):
        paths_of(registry.find("lima"), str(tmp_path))
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / "alpagasus_3k_dolly.jsonl").touch()
    assert paths_of(dolly, str(tmp_path / "released")).endswith("alpagasus_3k_dolly.jsonl")


def test_what_is_missing_is_told_with_command_size_and_licence() -> None:
    with pytest.raises(DataError, match=r"data\.path is empty, and the recipe lima needs its files"):
        paths_of(registry.find("lima"), "")
    text = how_to_fetch(registry.find("lima"))
    assert "hf download GAIR/lima --repo-type=dataset --include=train.jsonl --local-dir=FILES" in text
    assert "once you have accepted its licence there" in text and "CC BY-NC-SA" in text
    assert "unzip -d FILES FILES/less-data.zip" in how_to_fetch(registry.find("less_tydiqa"))
    assert "2.3 MB" in how_to_fetch(registry.find("alpagasus_dolly_3k"))
