"""What a gateway takes of the machine at most, as the deployment guide says it, on a real process that is kept busy."""

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from pathlib import Path
from threading import Event, Semaphore

import pytest
import yaml

from gateway.metrics import make_room
from tests.support.base_line import standing
from tests.support.gateways import ROOT, fresh, running_gateway, write_config
from tests.support.scripted_aws import ScriptedAws, held_back, issues_credentials

pytestmark = pytest.mark.requirement("CO-06")

# As deploy/README.md says them.
IDLE_MIB = 128
REQUEST_KIB = 128
BODIES = 4
LARGEST_BODY_KIB = 320
OWN_THREADS = 20
OWN_DESCRIPTORS = 64


def test_the_guide_says_the_numbers_that_are_measured_here(tmp_path: Path) -> None:
    make_room(str(tmp_path), "w1")
    room_mib = sum(file.stat().st_size for file in tmp_path.iterdir()) / (1 << 20)
    page = (ROOT / "deploy" / "README.md").read_text()
    needs = page.partition("### What it needs")[2].partition("\n## ")[0]

    assert f"{IDLE_MIB} MiB" in needs
    assert f"{REQUEST_KIB} KiB and {('four', 'five')[BODIES - 4]} times its body" in needs
    assert f"{OWN_THREADS} and processors + 4" in needs
    assert f"{ceil(room_mib * 10) / 10} MiB, none with one worker" in needs


@pytest.mark.parametrize(
    ("requests", "characters"),
    [pytest.param(120, 10, id="small bodies"), pytest.param(50, 250_000, id="large bodies")],
)
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what a process takes")
def test_requests_in_progress_take_no_more_than_is_said(
    tmp_path: Path, scripted_aws: ScriptedAws, requests: int, characters: int
) -> None:
    scripted_aws.begin()
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    (config / "schemas" / "deploy.json").write_text('{"type": "object"}')
    arrived, go_on = Semaphore(0), Event()

    def start(number: int) -> int:
        text = "x" * characters
        return gateway.start(
            fresh(), "deploy-payments", input={"version": text}, key=f"busy-{number}"
        ).status_code

    with (
        running_gateway(config, tmp_path / "audit") as gateway,
        ThreadPoolExecutor(requests) as pool,
    ):
        start(-1)
        base = standing(gateway.process.pid, tmp_path / "audit")
        scripted_aws.sts = held_back(issues_credentials(), arrived, go_on)
        try:
            waiting = [pool.submit(start, number) for number in range(requests)]
            # The scripted peer holds some; the others of those that arrived are under way all the same.
            assert all(arrived.acquire(timeout=30) for _ in range(requests))
            busy = standing(gateway.process.pid, tmp_path / "audit")
        finally:
            go_on.set()
        answers = {answer.result() for answer in waiting}

    assert answers == {201}
    assert base.memory_kib <= IDLE_MIB * 1024
    assert busy.memory_kib - base.memory_kib <= requests * (REQUEST_KIB + BODIES * characters // 1024)
    assert busy.threads <= OWN_THREADS + min(32, (os.cpu_count() or 1) + 4)
    assert sum(busy.descriptors.values()) <= OWN_DESCRIPTORS + 2 * requests


def test_the_pods_of_the_example_fit_into_their_limit_with_the_largest_bodies() -> None:
    pods, *_ = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "gateway.yaml").read_text())
    [container] = pods["spec"]["template"]["spec"]["containers"]
    settings = {entry["name"]: entry["value"] for entry in container["env"]}
    limit = re.fullmatch(r"(\d+)Mi", container["resources"]["limits"]["memory"])
    assert limit is not None

    needed_kib = int(settings["OIDC_GATEWAY_MAX_CONCURRENCY"]) * (REQUEST_KIB + BODIES * LARGEST_BODY_KIB)

    assert IDLE_MIB + needed_kib // 1024 <= int(limit[1])
