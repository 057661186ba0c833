"""What the command line knows, asked of its own parser."""

import argparse
import re
from collections.abc import Iterator, Sequence

from gateway.cli.main import build_parser

# Where a command begins, not where `oidc-gateway` is the name of an image or a folder.
_CALL = re.compile(r"(?:^ *|\$\(|&& |; |\| )oidc-gateway((?: +(?![|&;#])[^\s`)]+)+)", re.MULTILINE)


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers one level below, by name."""
    return {
        name: below
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, below in action.choices.items()
    }


def commands(parser: argparse.ArgumentParser | None = None) -> Iterator[str]:
    """Yield everything that can be run, such as `oidc-gateway audit find`."""
    parser = parser or build_parser()
    if parser.get_default("run") is not None:
        yield parser.prog
    for below in subcommands(parser).values():
        yield from commands(below)


def flags(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options that help shows, without help itself."""
    shown = (action for action in parser._actions if action.help != argparse.SUPPRESS)
    return {name for action in shown for name in action.option_strings if name.startswith("--")} - {"--help"}


def calls(text: str) -> list[list[str]]:
    """Return the arguments of every `oidc-gateway …` in a text."""
    return [found.split() for found in _CALL.findall(text)]


def unknown_words(words: Sequence[str]) -> list[str]:
    """Return the commands and options among the arguments that do not exist."""
    parser, unknown, rest = build_parser(), [], list(words)
    while rest:
        word = rest.pop(0)
        below = subcommands(parser)
        if word in below:
            parser = below[word]
        elif word.startswith("-") and word != "-":
            action = parser._option_string_actions.get(word.split("=")[0])
            if action is None:
                unknown.append(word)
            elif action.nargs != 0 and "=" not in word and rest:
                rest.pop(0)
                while action.nargs == "+" and rest and not rest[0].startswith("-"):
                    rest.pop(0)
        elif not _takes_words(parser):
            unknown.append(word)
    return unknown


def _takes_words(parser: argparse.ArgumentParser) -> bool:
    return any(
        not action.option_strings and not isinstance(action, argparse._SubParsersAction)
        for action in parser._actions
    )
