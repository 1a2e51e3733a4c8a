"""What counts as nothing in a record: null, white space, empty lists and objects."""


def holds_something(value: object) -> bool:
    """Whether a value is more than null, white space, or an empty list or object."""
    if isinstance(value, str):
        return bool(value.strip())
    return bool(value) if isinstance(value, list | dict) else value is not None


def holds_text(value: object) -> bool:
    """Whether there is a text in it, however deep."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str) and part.strip():
            return True
        if isinstance(part, list | dict):
            waiting += part.values() if isinstance(part, dict) else part
    return False
