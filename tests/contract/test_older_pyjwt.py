"""Our verdicts are ours: the same under every version of the library that checks the signatures."""

import gzip
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.support import components
from tests.support.clocks import START_S
from tests.support.components import OLDER_PYJWT, skip_without
from tests.support.corpus.every import corpus
from tests.support.corpus.keys import key_set, other_key_set
from tests.support.corpus.making import ISSUER, OTHER_ISSUER
from tests.support.mutations import Spoiler
from tests.support.token_oracle import oracle_accepts
from tests.support.tokens import AUDIENCE, jwks

_ROOT: Final = Path(__file__).parents[2]
_SAMPLES: Final = corpus(int(START_S))


@pytest.fixture(scope="module")
def question() -> dict[str, Any]:
    """The samples, two thousand tampered tokens, and every published signature."""
    spoiler = Spoiler(Random(61))
    packed = (_ROOT / "tests" / "vectors" / "wycheproof_signatures.json.gz").read_bytes()
    good = {
        "audience": AUDIENCE,
        "algorithms": ["RS256", "ES256"],
        "key_headers_ignored": True,
        "leeway_s": 60,
    }
    generic = {
        **good,
        "algorithms": ["RS256", "ES256", "PS256", "EdDSA"],
        "key_headers_ignored": False,
        "leeway_s": 30,
    }
    corpus_issuers = [
        {**good, "issuer": ISSUER, "keys": key_set()},
        {**good, "issuer": OTHER_ISSUER, "keys": other_key_set()},
    ]
    tampered_issuer = {**generic, "issuer": "https://issuer.example", "keys": json.loads(jwks())}
    return {
        "now": START_S,
        "parts": [
            {"issuers": corpus_issuers, "tokens": [one.token for one in _SAMPLES]},
            {"issuers": [tampered_issuer], "tokens": [spoiler.token() for _ in range(2_000)]},
        ],
        "signatures": json.loads(gzip.decompress(packed))["groups"],
    }


def answer(question: dict[str, Any], *first: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.verdicts"],
        input=json.dumps(question),
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*first, _ROOT)))},
        timeout=120,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def ours(question: dict[str, Any]) -> dict[str, Any]:
    """The verdicts under the version that is installed."""
    return answer(question)


@pytest.mark.requirement("F-61", "DE-03")
def test_under_the_installed_version_the_verdicts_are_the_ones_we_mean(
    question: dict[str, Any], ours: dict[str, Any]
) -> None:
    assert ours["pyjwt"] == version("pyjwt")
    samples, tampered = ours["tokens"]
    meant = ["believed" if one.code is None else str(one.code) for one in _SAMPLES]
    assert list(zip(_SAMPLES, meant, strict=True)) == list(zip(_SAMPLES, samples, strict=True))
    judged = zip(question["parts"][1]["tokens"], tampered, strict=True)
    assert [text for text, said in judged if oracle_accepts(text) != (said == "believed")] == []


@pytest.mark.requirement("F-61", "DE-03")
@pytest.mark.parametrize(
    "older", [pytest.param(one, marks=skip_without(f"pyjwt-{one}")) for one in OLDER_PYJWT]
)
def test_under_another_version_of_the_library_every_verdict_is_the_same(
    question: dict[str, Any], ours: dict[str, Any], older: str
) -> None:
    found = answer(question, components.packages(f"pyjwt-{older}"))

    assert found["pyjwt"].startswith(f"{older}.")
    for part, mine, theirs in zip(question["parts"], ours["tokens"], found["tokens"], strict=True):
        both = zip(part["tokens"], mine, theirs, strict=True)
        assert [(text, one, other) for text, one, other in both if one != other] == []
    assert found["signatures"] == ours["signatures"]
