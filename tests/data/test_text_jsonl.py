"""Plain text as records to pretrain on: where it is cut, that nothing of it is lost, and what is refused."""

import gzip
import json
import random
from pathlib import Path

import pytest

from im_jax.config import TurnsConfig
from im_jax.data.builders.text_jsonl import main, paragraphs, pieces
from im_jax.data.records.reading import conversation_from_record
from im_jax.errors import ConfigError, DataError


def test_a_blank_line_ends_a_paragraph(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\ufeff\none\ntwo  \r\n \t\n\nthr\u00e9e\n", encoding="utf-8")
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("four\n\nfive")
    assert list(paragraphs(f"{tmp_path}/*")) == ["one\ntwo", "thr\u00e9e", "four", "five"]


@pytest.mark.parametrize(
    ("texts", "characters", "cut"),
    [
        (["aa", "bb", "cc"], 6, ["aa\n\nbb", "cc"]),
        (["aa", "bb"], 5, ["aa", "bb"]),
        (["One. Two two. Three"], 14, ["One. Two two.", "Three"]),
        (['She said "no!" Then'], 15, ['She said "no!"', "Then"]),
        (["one two three"], 8, ["one two", "three"]),
        (["abcdefgh"], 3, ["abc", "def", "gh"]),
        (["One. " * 2, "tail"], 12, ["One. One.", "tail"]),
        ([], 5, []),
    ],
)
def test_pieces_end_where_paragraphs_sentences_or_words_do(
    texts: list[str], characters: int, cut: list[str]
) -> None:
    assert list(pieces([text.strip() for text in texts], characters)) == cut


def test_no_piece_is_too_long_and_nothing_but_white_space_is_lost() -> None:
    draw = random.Random(0)
    for _ in range(200):
        texts = [
            "".join(draw.choice("ab. !\n\u00e9") for _ in range(draw.randint(1, 60))).strip() or "x"
            for _ in range(draw.randint(1, 8))
        ]
        characters = draw.randint(1, 40)
        found = list(pieces(texts, characters))
        assert all(piece and len(piece) <= characters for piece in found)
        assert "".join("".join(found).split()) == "".join("".join(texts).split())


def test_what_is_written_is_read_as_output_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("Once.\n\nUpon a time.")
    main(["", f"--path={tmp_path}/a.txt", f"--output={tmp_path}/text.jsonl", "--characters=12"])
    assert "text.jsonl: 2 pieces. Train on it with:" in capsys.readouterr().out
    for line, text in zip((tmp_path / "text.jsonl").open(), ["Once.", "Upon a time."], strict=True):
        conversation = conversation_from_record(json.loads(line), "a", turns=TurnsConfig(empty="keep"))
        assert [(m.role, m.text) for m in conversation.messages] == [("user", ""), ("assistant", text)]


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\nt\xffo\n")
    with pytest.raises(DataError, match=r"a\.txt:2: is not UTF-8 at byte 2 of the line"):
        list(paragraphs(f"{tmp_path}/a.txt"))
    with pytest.raises(DataError, match="path: there is no file"):
        list(paragraphs(f"{tmp_path}/b.txt"))
    with pytest.raises(ConfigError, match="--path is not given"):
        main([""])
