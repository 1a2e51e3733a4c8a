"""What a compiled program keeps, read from its text (HLO)."""

import re


def buffers(program: str, dtype: str) -> set[tuple[int, ...]]:
    """Shapes of all arrays of a type in a program."""
    shapes = re.findall(rf"\b{dtype}\[([\d,]+)\]", program)
    return {tuple(int(size) for size in shape.split(",")) for shape in shapes}
