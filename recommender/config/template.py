"""A raw column by its name, or several in a sentence: `Title`, `"{Title}, size {Size}"`."""

from __future__ import annotations

from string import Formatter


def fields(template: str) -> tuple[str, ...]:
    """Return the raw columns that a column name or a template needs.

    Raises:
        ValueError: a brace is left open, a field has no name, or asks for more than its value.
    """
    if "{" not in template and "}" not in template:
        return (template,)
    parts = list(Formatter().parse(template))
    names = [name for _, name, _, _ in parts if name is not None]
    plain = all(not spec and not conversion for _, _, spec, conversion in parts)
    if not plain or not names or not all(names):
        raise ValueError(f"{template!r} is not a template; write column names in {{braces}}")
    return tuple(dict.fromkeys(names))


def pieces(template: str) -> list[tuple[str, str | None]]:
    """Return the template as pairs of a literal text and the column that follows it, if any."""
    if "{" not in template:
        return [("", template)]
    return [(literal, name) for literal, name, _, _ in Formatter().parse(template)]
