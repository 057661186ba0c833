"""The table that `scripts/profile` makes of sampled stacks."""

from pathlib import Path

import pytest

from tests.bench import stacks
from tests.bench.profile import main

_ROOT = Path("/home/jo/gateway-checkout")
_RAW = """\
run (/home/jo/gateway-checkout/gateway/app.py:10);verify (/home/jo/gateway-checkout/gateway/identity/verify.py:20);decode (/home/jo/gateway-checkout/.venv/lib/python3.11/site-packages/jwt/api_jws.py:5) 30
run (/home/jo/gateway-checkout/gateway/app.py:10);again (/home/jo/gateway-checkout/gateway/app.py:30);again (/home/jo/gateway-checkout/gateway/app.py:30) 50
run (/home/jo/gateway-checkout/gateway/app.py:10);loads (/usr/lib/python3.11/json/__init__.py:300);EVP_DigestVerify (libcrypto.so.3) 20
"""


def _share(text: str, section: str, name: str) -> list[str]:
    lines = text.partition(section)[2].splitlines()
    return next(line.split() for line in lines if line.endswith(f"  {name}"))


def test_time_counts_for_the_module_it_was_spent_in_and_for_all_that_led_there() -> None:
    text = stacks.table(stacks.read(_RAW, root=_ROOT), cpu_us=200)

    assert _share(text, "By module", "jwt")[:5] == ["30.0", "%", "30.0", "%", "60.0"]
    assert _share(text, "By module", "gateway/app.py")[:5] == ["50.0", "%", "100.0", "%", "100.0"]
    assert _share(text, "by total", "gateway/identity/verify.py")[2] == "30.0"


def test_a_function_that_calls_itself_is_counted_once() -> None:
    text = stacks.table(stacks.read(_RAW, root=_ROOT), cpu_us=1)

    assert _share(text, "By function", "again  gateway/app.py")[:3] == ["50.0", "%", "50.0"]


@pytest.mark.parametrize(
    ("file", "module"),
    [
        pytest.param(f"{_ROOT}/gateway/doors/rest.py", "gateway/doors/rest.py", id="ours"),
        pytest.param(
            f"{_ROOT}/.venv/lib/python3.11/site-packages/msgspec/json.py",
            "msgspec",
            id="installed-below-ours",
        ),
        pytest.param("/usr/lib/python3.11/asyncio/events.py", "python: asyncio/events", id="standard"),
        pytest.param("/usr/lib/python3.11/json/__init__.py", "python: json", id="standard-package"),
        pytest.param("libcrypto.so.3", "libcrypto.so.3", id="native"),
    ],
)
def test_files_count_as_what_a_reader_knows_them_by(file: str, module: str) -> None:
    assert stacks.module_of(file, _ROOT) == module


def test_what_is_no_sample_is_left_out() -> None:
    assert stacks.read("\nWarning: something\n", root=_ROOT) == []


def test_help_says_how_to_be_allowed_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "ptrace_scope" in said
    assert "SYS_PTRACE" in said


def test_threads_that_wait_take_no_time() -> None:
    waiting = "run (/usr/lib/python3.11/threading.py);Condition.wait (/usr/lib/python3.11/threading.py) 90"
    working = f"run (/usr/lib/python3.11/threading.py);Ledger.sync ({_ROOT}/gateway/audit/ledger.py) 10"

    found = stacks.at_work(stacks.read(f"{waiting}\n{working}", root=_ROOT))

    assert [(one.frames[-1].function, one.samples) for one in found] == [("Ledger.sync", 10)]
