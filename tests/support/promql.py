"""Which metrics and labels a query of Prometheus names, read from its text."""

import re
from dataclasses import dataclass

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"\b([a-z_:][a-z0-9_:]*)\s*(?:\{([^{}]*)\})?", re.IGNORECASE)
_MATCHER = re.compile(r"([a-z_]\w*)\s*(?:=~|!~|!=|=)", re.IGNORECASE)
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_SUFFIXES = ("_bucket", "_count", "_sum")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """One metric that a query reads, and the labels it asks of it. name: without the suffix of a histogram's part."""

    name: str
    labels: frozenset[str]


def selectors(query: str) -> tuple[Selector, ...]:
    """Return every selector of our metrics, of the process's and of `up`."""
    bare = _TEXT.sub('""', query)
    return tuple(
        Selector(name=_family(name), labels=frozenset(_MATCHER.findall(inside or "")))
        for name, inside in _SELECTOR.findall(bare)
        if name.startswith(("oidc_gateway_", "process_")) or name == "up"
    )


def grouped_by(query: str) -> frozenset[str]:
    """Return the labels that the query groups or joins by."""
    lists = _GROUPING.findall(_TEXT.sub('""', query))
    return frozenset(label.strip() for names in lists for label in names.split(",") if label.strip())


def _family(name: str) -> str:
    return next((name.removesuffix(end) for end in _SUFFIXES if name.endswith(end)), name)
