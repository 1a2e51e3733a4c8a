"""The table of all fields in `docs/configuration.md`, from their records.

    python -m im_jax.config.table [PATH]

writes it anew, in place, between the two comments that mark it.
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from im_jax.config.fields import as_flag
from im_jax.config.record import Decides, Record, When, records
from im_jax.config.root import Config

PAGE: Final = pathlib.Path("docs/configuration.md")
BEGIN: Final = "<!-- fields: written by `python -m im_jax.config.table` -->"
END: Final = "<!-- end of fields -->"


def table(known: Mapping[str, Record]) -> str:
    """Markdown: a section for each group, with a row for each of its fields."""
    groups: dict[str, list[Record]] = {}
    for record in known.values():
        groups.setdefault(record.group, []).append(record)
    return "\n".join(_section(name, inside) for name, inside in groups.items())


def rewritten(page: str, known: Mapping[str, Record]) -> str:
    """A page with the table in it replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(known)}\n{END}{after}"


def values(record: Record) -> str:
    """What a field can be, for a reader."""
    if record.choices:
        choices = ", ".join(f"`{choice}`" for choice in record.choices)
        words = f"{'some of ' if record.several else ''}{choices}{' or a path' if record.or_path else ''}"
        return f"{_number(record)}, {words} or none" if int in record.types else words
    return f"{_number(record)}{' or none' if record.may_be_unset else ''}"


def _number(record: Record) -> str:
    kind = record.kind.removesuffix(" or none").removesuffix(" or text").removeprefix("a ")
    return f"{kind}, {record.bounds}" if record.bounds else kind


def _section(group: str, inside: Sequence[Record]) -> str:
    """A heading, the condition that all fields of the group share, and the rows."""
    heading = f"{'#' * (3 + group.count('.'))} {f'`{group}`' if group else 'Top level'}\n\n"
    shared = inside[0].when if len({record.when for record in inside}) == 1 else None
    condition = f"With `{shared}`.\n\n" if shared else ""
    head = "| field | default | values | decides | meaning |\n|---|---|---|---|---|\n"
    return heading + condition + head + "".join(_row(record, shared) for record in inside)


def _row(record: Record, shared: When | None) -> str:
    default = as_flag(record.default) or "empty"
    if record.default not in (None, ""):
        default = f"`{default}`"
    notes = [record.help]
    if record.when not in (None, shared):
        notes.append(f"With `{record.when}`.")
    if record.may_change and record.decides is Decides.RESULT:
        notes.append("May change on resuming.")
    if record.see:
        page, _, section = record.see.partition("#")
        notes.append(f"See [{section.replace('-', ' ') or page.removesuffix('.md')}]({record.see}).")
    decides = record.decides.value.split()[-1]
    return f"| `{record.name}` | {default} | {values(record)} | {decides} | {' '.join(notes)} |\n"


if __name__ == "__main__":
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    path.write_text(rewritten(path.read_text(encoding="utf-8"), records(Config)), encoding="utf-8")
