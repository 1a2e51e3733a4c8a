"""Write plain text as JSON Lines to pretrain on: pieces that end where paragraphs, sentences or words do.

    python -m im_jax.data.builders.text_jsonl --path=FILES --output=text.jsonl [--characters=1000]

FILES are UTF-8 text, packed or not, named as `data.path` names files; a blank line ends a paragraph. No
character between white space is lost. An instruction is empty in each record, so that all text is output.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from absl import flags

from im_jax.command_line import PlainCommand, read_flags
from im_jax.console import print_text
from im_jax.data.files.lines import lines_of
from im_jax.data.files.location import located
from im_jax.data.files.opening import Readable, opened
from im_jax.errors import ConfigError, DataError
from im_jax.files import output_file
from im_jax.text import counted

_SENTENCE: Final = re.compile(r"[.!?][\"')\]]*\s")


def main(argv: Sequence[str]) -> None:
    """Write the pieces of the files that a command line (program name first) names."""
    values = read_flags(argv, define_flags)
    given: dict[str, Any] = {name: values[name].value for name in values}
    if not given["path"]:
        raise ConfigError("--path is not given; set --path=FILE, or several joined by commas")
    count = 0
    with output_file(given["output"]) as file:
        for piece in pieces(paragraphs(given["path"]), given["characters"]):
            file.write(json.dumps({"prompt": "", "completion": piece}, ensure_ascii=False) + "\n")
            count += 1
    to = given["output"]
    if to is not None:
        print_text(f"{to}: {counted(count, 'piece')}. Train on it with:")
        print_text(
            f"  --config.data.source=jsonl --config.data.path={to} --config.data.template=plain "
            "--config.data.turns.empty=keep --config.loss.policy=all"
        )
    elif not count:
        print_text("no text was found", sys.stderr)


def paragraphs(path: str) -> Iterator[str]:
    """Text between blank lines of some files, without white space at its ends.

    Raises:
        DataError: a file cannot be read, or is not UTF-8.
    """
    for file in located(path, "path"):
        readable = Readable("line")
        with opened(file.path, "path") as source, source.damage(readable):
            lines: list[str] = []
            before = 0
            for number, raw in lines_of(source, readable):
                try:
                    line = raw.decode()
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{file.path}:{number}: is not UTF-8 at byte {error.start + 1} of the line; "
                        "save the file as UTF-8"
                    ) from None
                if lines and number != before + 1:
                    yield "\n".join(lines).strip()
                    lines = []
                lines.append(line)
                before = number
            if lines:
                yield "\n".join(lines).strip()


def pieces(texts: Iterable[str], characters: int) -> Iterator[str]:
    """Neighbouring paragraphs together, and long ones cut, so that none has more than so many characters."""
    held = ""
    for text in texts:
        if held and len(held) + 2 + len(text) > characters:
            yield held
            held = ""
        held = f"{held}\n\n{text}" if held else text
        while len(held) > characters:
            end = _end(held, characters)
            yield held[:end].rstrip()
            held = held[end:].lstrip()
    if held:
        yield held


def _end(text: str, characters: int) -> int:
    """Where to cut: behind the last sentence that fits, else the last word, else in the middle of one."""
    window = text[: characters + 1]
    if sentences := [match.end() for match in _SENTENCE.finditer(window)]:
        return sentences[-1]
    space = max(window.rfind(each) for each in " \n\t")
    return space if space > 0 else characters


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("path", None, "Files of text, joined by commas.", flag_values=values)
    flags.DEFINE_string("output", None, "File to write; standard output if not given.", flag_values=values)
    flags.DEFINE_integer(
        "characters", 1000, "Characters of a piece at most.", lower_bound=1, flag_values=values
    )


run = PlainCommand(__doc__ or "", main, define_flags)
"""Runs the command on a command line, `sys.argv` if none is given, and exits."""

if __name__ == "__main__":
    run()
