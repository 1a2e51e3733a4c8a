"""From the records of published training sets to records in a known format.

Each conversion is an object that a worker process can be given. What it cannot read it hands on as it is: the
reader of records then says what is wrong, and where.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from im_jax.data.recipes.recipe import Conversion, Fields, LeftOut
from im_jax.data.recipes.wrappers import wrapped
from im_jax.data.records.naming import SPEAKERS


@dataclass(frozen=True)
class Columns:
    """Some columns of a record, under other names: the rest is no text of the conversation."""

    names: Mapping[str, str]
    """New name of each column that stays."""

    def __call__(self, record: Fields, number: int) -> Fields:
        """Columns that are absent stay absent."""
        return {new: record[old] for old, new in self.names.items() if old in record} or record


@dataclass(frozen=True)
class Instruction:
    """Instruction, input and answer, wrapped or as they are; records with `messages` stay as they are.

    The latter are those of the paper's own files, which are wrapped already.
    """

    instruction: str = "instruction"
    input: str = "input"
    output: str = "output"
    wrap: bool = True
    with_empty: bool = False
    """Whether answers without text are of the set; published sets have some, which others leave out."""

    def __call__(self, record: Fields, number: int) -> Fields | LeftOut:
        """An answer without text leaves a record out, unless the set is one with them."""
        if "messages" in record:
            return _MESSAGES(record, number) if self.with_empty else _ready(record, number)
        texts = [record.get(name) for name in (self.instruction, self.input, self.output)]
        instruction, given, output = ("" if text is None else text for text in texts)
        if not all(isinstance(text, str) for text in (instruction, given, output)):
            return record
        if not output.strip() and not self.with_empty:
            return LeftOut("without an answer")
        if not instruction.strip():
            return LeftOut("without an instruction")
        identity = {"id": record["id"]} if record.get("id") is not None else {}
        if not self.wrap:
            return identity | {"instruction": instruction, "input": given, "output": output}
        user, assistant = wrapped(instruction, given, output, number)
        return identity | messages((user, assistant))


@dataclass(frozen=True)
class Turns:
    """A list of texts that alternate, the user's first; a last one that the user would say goes."""

    name: str = "conversations"

    def __call__(self, record: Fields, number: int) -> Fields | LeftOut:
        """A single text is a question without an answer."""
        texts = record.get(self.name)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            return record
        if len(texts) < 2:
            return LeftOut("without an answer")
        return messages(texts[: len(texts) // 2 * 2])


@dataclass(frozen=True)
class Speakers:
    """A list of turns with `from` and `value`, perhaps with an id and a system text beside it."""

    name: str = "conversations"
    id: str = "id"
    system: str = ""

    def __call__(self, record: Fields, number: int) -> Fields:
        """The record itself where a turn is none, or of an unknown speaker."""
        turns = record.get(self.name)
        if not isinstance(turns, list) or not all(_speaks(turn) for turn in turns):
            return record
        made: Fields = {
            "messages": [{"role": SPEAKERS[turn["from"]], "content": turn["value"]} for turn in turns]
        }
        for turn, message in zip(turns, made["messages"], strict=True):
            if turn.get("weight") is not None and message["role"] == "assistant":
                message["weight"] = turn["weight"]
        for new, old in (("id", self.id), ("system", self.system)):
            if record.get(old) is not None:
                made[new] = record[old]
        return made


@dataclass(frozen=True)
class Exchange:
    """A question and an answer, perhaps with a system text, under names of the data."""

    question: str
    answer: str
    system: str = ""
    closed: bool = False
    """Whether the question ends in a newline, if not in a colon: as FLAN's do in Tülu."""

    def __call__(self, record: Fields, number: int) -> Fields | LeftOut:
        """The record itself where question or answer is no text."""
        if "messages" in record:
            return _ready(record, number)
        question, answer = record.get(self.question), record.get(self.answer)
        if not isinstance(question, str) or not isinstance(answer, str):
            return record
        if not answer.strip():
            return LeftOut("without an answer")
        if not question.strip():
            return LeftOut("without a question")
        if self.closed and not question.endswith("\n") and not question.rstrip().endswith(":"):
            question += "\n"
        made = messages((question, answer))
        if self.system and isinstance(system := record.get(self.system), str) and system.strip():
            made["system"] = system
        if record.get("id") is not None:
            made["id"] = record["id"]
        return made


@dataclass(frozen=True)
class Chain:
    """A conversion, and another one of what it gives."""

    first: Conversion
    then: Conversion

    def __call__(self, record: Fields, number: int) -> Fields | LeftOut | list[Fields]:
        """What is left out by either is left out; of several, those that stay, if any does."""
        made = self.first(record, number)
        if isinstance(made, LeftOut):
            return made
        results = [self.then(one, number) for one in ([made] if isinstance(made, dict) else made)]
        kept: list[Fields] = []
        for result in results:
            if not isinstance(result, LeftOut):
                kept += [result] if isinstance(result, dict) else result
        if kept:
            return kept[0] if len(kept) == 1 else kept
        return next((result for result in results if isinstance(result, LeftOut)), LeftOut("empty"))


@dataclass(frozen=True)
class Pieces:
    """A long conversation in pieces of whole exchanges, as ShareGPT's are in Tülu V2.

    There a piece has at most 4,096 tokens of Llama's tokenizer. Which tokenizer a run has is not known here,
    so a token is counted as four bytes. An exchange that is too long alone is left out, as it is there.
    """

    name: str = "conversations"
    speaker: str = "from"
    text: str = "value"
    most: int = 4096
    users: tuple[str, ...] = ("human", "user")
    assistants: tuple[str, ...] = ("gpt", "chatgpt")
    refused: tuple[str, ...] = ("system", "bing")

    def __call__(self, record: Fields, number: int) -> Fields | LeftOut | list[Fields]:
        """Pieces have the id of the conversation and the number of their first message."""
        turns = record.get(self.name)
        if not isinstance(turns, list) or not all(self._is_turn(turn) for turn in turns):
            return record
        if any(turn[self.speaker] in self.refused for turn in turns):
            return LeftOut(f"with a turn of {' or '.join(self.refused)}")
        turns = turns[: len(turns) // 2 * 2]
        roles = [self._role(turn[self.speaker]) for turn in turns]
        if None in roles:
            return record
        if not turns or roles != ["user", "assistant"] * (len(turns) // 2):
            return LeftOut("not in turns of user and assistant")
        pieces = self._cut([turn[self.text] for turn in turns])
        name = record.get("id", number)
        return [messages(texts) | {"id": f"{name}_{first}"} for first, texts in pieces] or LeftOut("too long")

    def _is_turn(self, turn: object) -> bool:
        return isinstance(turn, dict) and all(isinstance(turn.get(k), str) for k in (self.speaker, self.text))

    def _role(self, speaker: str) -> str | None:
        if speaker in self.users:
            return "user"
        return "assistant" if speaker in self.assistants else None

    def _cut(self, texts: list[str]) -> list[tuple[int, list[str]]]:
        """Number of the first message of each piece, and its messages."""
        pieces: list[tuple[int, list[str]]] = []
        length = self.most + 1  # so that the first exchange begins a piece
        for at in range(0, len(texts), 2):
            exchange = texts[at : at + 2]
            size = sum(len(text.encode(errors="surrogatepass")) // 4 + 6 for text in exchange)
            if size > self.most or not all(text.strip() for text in exchange):
                length = self.most + 1
            elif length + size > self.most:
                pieces.append((at, list(exchange)))
                length = size
            else:
                pieces[-1][1].extend(exchange)
                length += size
        return pieces


@dataclass(frozen=True)
class BestPath:
    """The path through a tree of OpenAssistant along the replies of the highest quality."""

    roles: Mapping[str, str] = field(default_factory=lambda: {"prompter": "user", "assistant": "assistant"})

    def __call__(self, record: Fields, number: int) -> Fields | LeftOut:
        """Left out where the path does not end in an answer."""
        node: Any = record.get("prompt")
        if not isinstance(node, dict):
            return record
        turns = []
        while node is not None:
            if node.get("role") not in self.roles:
                return record
            turns.append({"role": self.roles[node["role"]], "content": node.get("text")})
            replies = [reply for reply in node.get("replies") or () if not reply.get("deleted")]
            node = max(replies, key=_quality, default=None)  # the first of equals
        if turns[-1]["role"] != "assistant" or record["prompt"].get("deleted"):
            return LeftOut("without an answer at the end of the best path")
        tree = record.get("message_tree_id")
        return {"messages": turns} | ({} if tree is None else {"id": tree})


def _speaks(turn: object) -> bool:
    """Whether it is a turn of a speaker that is known."""
    if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
        return False
    who = turn.get("from")
    return isinstance(who, str) and who in SPEAKERS


def _ready(record: Fields, number: int) -> Fields | LeftOut:
    """A record whose messages are made already, unless the last says nothing."""
    turns = record["messages"]
    last = turns[-1] if isinstance(turns, list) and turns else None
    if isinstance(last, dict) and isinstance(last.get("content"), str) and not last["content"].strip():
        return LeftOut("without an answer")
    return _MESSAGES(record, number)


_MESSAGES: Final = Columns({"messages": "messages", "id": "id"})


def _quality(reply: Fields) -> float:
    quality = (reply.get("labels") or {}).get("quality") or {}
    return float(quality.get("value") or 0.0)


def messages(texts: Iterable[str]) -> Fields:
    """A record of texts that alternate, the user's first."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]}
