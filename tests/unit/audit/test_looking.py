"""A look through the records ends when nobody waits for it, or when it takes too long."""

import asyncio
import threading
from pathlib import Path

import pytest

from gateway.audit.looking import look_for
from gateway.errors import ErrorCode, Unavailable
from tests.support.hang import no_hang


def write_journals(folder: Path, number: int) -> Path:
    for one in range(1, number + 1):
        (folder / f"audit-{one:06}.jsonl").write_text("{}\n" * 3_000)
    return folder


@pytest.mark.requirement("AD-08")
async def test_a_look_that_nobody_waits_for_ends_its_thread(tmp_path: Path) -> None:
    began, go_on = threading.Event(), threading.Event()
    asked: list[str] = []

    def now() -> float:
        asked.append(threading.current_thread().name)
        if threading.current_thread() is not threading.main_thread():
            began.set()
            go_on.wait()
        return 0.0

    look = asyncio.create_task(look_for([write_journals(tmp_path, 3)], "zzz", now=now))
    with no_hang():
        await asyncio.to_thread(began.wait)
        look.cancel()
        await asyncio.gather(look, return_exceptions=True)
        go_on.set()
        await asyncio.get_running_loop().shutdown_default_executor()

    assert len(asked) == 2, "it would have asked three times for each file"


@pytest.mark.requirement("AD-08")
async def test_a_look_that_takes_too_long_says_where_to_look_instead(tmp_path: Path) -> None:
    times = iter([0.0, 19.0, 21.0])

    with pytest.raises(Unavailable, match="than can be looked through in 20 s") as refusal:
        await look_for([write_journals(tmp_path, 1)], "zzz", now=lambda: next(times))

    assert refusal.value.code is ErrorCode.OVERLOADED
    assert refusal.value.hint is not None
    assert "oidc-gateway explain" in refusal.value.hint
