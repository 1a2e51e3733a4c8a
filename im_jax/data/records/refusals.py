"""How a value of a record is named when it is refused."""

from typing import Final, NoReturn

from im_jax.errors import DataError

_JSON_TYPES: Final = {dict: "the object", list: "the list", str: "the string", bool: "the boolean"}


def fail(origin: str, field: str, problem: str) -> NoReturn:
    """Refuse a record: where it was read, which field, and what is wrong with it."""
    raise DataError(f"{origin}: field `{field}` {problem}")


def described(value: object) -> str:
    """Type and value, in the words of JSON."""
    return "null" if value is None else f"{_JSON_TYPES.get(type(value), 'the number')} {shown(value)}"


def shown(value: object) -> str:
    """The value, shortened and escaped, so that it prints on any terminal in one line."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
