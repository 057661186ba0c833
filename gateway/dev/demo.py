"""Plays the story against a running environment and stops at the first step that is not what it should be."""

import json
import os
import shlex
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from string import Template

import botocore.exceptions
import jwt
from botocore.config import Config
from cryptography.hazmat.primitives.asymmetric import rsa

import gateway
from gateway.dev.aws import REPORTS_BUCKET
from gateway.dev.calls import Answer, as_curl, send
from gateway.dev.environment import Environment
from gateway.dev.folder import write_private
from gateway.dev.keep import Ended
from gateway.dev.screen import WIDTH, Screen, folded
from gateway.dev.steps import PRESENT, CommandStep, HttpStep, ReadStep, Step
from gateway.dev.story import STORY, TOKENS
from gateway.dev.story_ci import FORGED
from gateway.dev.story_vault import VAULT_CHAPTER
from gateway.dev.vault import HOW_TO_GET_ONE

_COMMAND_S = 60.0
_NOTHING = object()
_INTRODUCTION = (
    "Four identity providers, an AWS that enforces its policies, and the gateway now run on this machine,",
    "on loopback. Every call is real; shown is what a person would type and what matters of the answer.",
)
# The administrator's own Vault, which the demo's commands must never reach.
_OF_VAULT = ("VAULT_", "BAO_")


class StepFailed(Exception):
    """A step is not what it should be; the message says what was expected and what came."""


class Demo:
    """One telling of the story.

    variables: what the commands on the screen call `$NAME`; written to a file that a shell can read.
    """

    def __init__(self, environment: Environment, screen: Screen, asked: threading.Event) -> None:
        """Prepare. asked: set when somebody wants us to end."""
        self._environment = environment
        self._screen = screen
        self._asked = asked
        self.variables: dict[str, str] = {
            "GATEWAY": environment.url,
            "AWS": environment.aws.url,
            "CONFIG": str(environment.derived.destination),
            "AUDIT": str(environment.audit),
        }
        if environment.vault is not None:
            self.variables |= {
                "VAULT_ADDR": environment.vault.address,
                "VAULT_ROOT": environment.vault.root_token.reveal(),
                "VAULT_ROOT_FILE": str(environment.vault_token_file),
            }

    def tell(self) -> None:
        """Play all steps. Raises StepFailed and Ended."""
        began = time.monotonic()
        self.variables |= {name: self._environment.mint(order) for name, order in TOKENS.items()}
        self.variables[FORGED] = forge(self.variables[FORGED])
        self.write_variables()
        for line in _INTRODUCTION:
            self._screen.line(line)
        count = 0
        for chapter in STORY:
            self._screen.chapter(chapter.title)
            if chapter is VAULT_CHAPTER and self._environment.vault is None:
                for part in textwrap.wrap(f"Left out. {HOW_TO_GET_ONE}", WIDTH):
                    self._screen.line(part)
                continue
            for step in chapter.steps:
                self._play(step)
                self.write_variables()
            count += len(chapter.steps)
        self._screen.line()
        self._screen.line(f"All {count} steps went as they should, in {time.monotonic() - began:.1f} s.")

    def write_variables(self) -> None:
        """Write the file for the shell."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.variables.items()]
        write_private(variables_file(self._environment), "\n".join(lines) + "\n")

    def _play(self, step: Step) -> None:
        if self._asked.is_set():
            raise Ended  # what was raised at once may have been lost in a library's own `except`
        self._screen.step(step.says)
        match step:
            case HttpStep():
                self._call(step)
            case ReadStep():
                self._read(step)
            case CommandStep():
                self._command(step)

    def _call(self, step: HttpStep) -> None:
        self._screen.command(as_curl(step))
        answer, wrong = self._answered(step)
        shown = {label: pick(answer.document, pointer) for label, pointer in step.show.items()}
        self._screen.status(
            answer.status, {label: value for label, value in shown.items() if value is not _NOTHING}
        )
        if wrong:
            raise StepFailed("\n".join(wrong))
        for name, pointer in step.keep.items():
            self.variables[name] = str(pick(answer.document, pointer))

    def _answered(self, step: HttpStep) -> tuple[Answer, list[str]]:
        """Return the answer and what is wrong with it, patiently."""
        until = time.monotonic() + step.patience_s
        while True:
            try:
                answer = send(step, variables=self.variables)
            except OSError as cause:
                raise StepFailed(f"${step.server} did not answer: {cause}") from cause
            wrong = differences(step, answer, self.variables)
            if not wrong or time.monotonic() >= until:
                return answer, wrong
            time.sleep(0.05)

    def _read(self, step: ReadStep) -> None:
        path = f"{REPORTS_BUCKET}/{step.key}"
        self._screen.command(
            [
                "curl -s",
                f'"$AWS/{path}"',
                "--aws-sigv4 aws:amz:eu-west-1:s3",
                '--user "$PARTNER_KEY_ID:$PARTNER_SECRET_KEY"',
                '-H "x-amz-security-token: $PARTNER_SESSION"',
            ]
        )
        status, lines = self._object(step.key)
        self._screen.status(status, {})
        self._screen.output(lines)
        if status != step.status:
            raise StepFailed(f"expected status {step.status}, not {status}")

    def _object(self, key: str) -> tuple[int, list[str]]:
        held = self.variables
        s3 = self._environment.aws.session.client(
            "s3",
            region_name="eu-west-1",
            endpoint_url=self._environment.aws.url,
            aws_access_key_id=held["PARTNER_KEY_ID"],
            aws_secret_access_key=held["PARTNER_SECRET_KEY"],
            aws_session_token=held["PARTNER_SESSION"],
            config=Config(proxies={}, ignore_configured_endpoint_urls=True, s3={"addressing_style": "path"}),
        )
        try:
            answer = s3.get_object(Bucket=REPORTS_BUCKET, Key=key)
            return 200, answer["Body"].read().decode().splitlines()
        except botocore.exceptions.ClientError as refusal:
            return refusal.response["ResponseMetadata"]["HTTPStatusCode"], [refusal.response["Error"]["Code"]]

    def _command(self, step: CommandStep) -> None:
        self._screen.command(["oidc-gateway", *(_quoted(one) for one in step.arguments)])
        arguments = [Template(one).substitute(self.variables) for one in step.arguments]
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment_of_commands(),
            timeout=_COMMAND_S,
            check=False,
        )
        self._screen.output(folded(done.stdout.splitlines(), step.fold))
        missing = [text for text in step.expect if text not in done.stdout]
        if done.returncode != 0 or missing:
            raise StepFailed(f"the command ended with {done.returncode}; it should have printed: {missing}")


def _environment_of_commands() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(_OF_VAULT)}
    return {**ours, "PYTHONPATH": str(Path(gateway.__file__).parent.parent), "COLUMNS": "94"}


def variables_file(environment: Environment) -> Path:
    """Return the file that defines the shell variables of the commands; only its owner can read it."""
    return environment.folder / "variables"


def forge(token: str) -> str:
    """Return the token with the same header and claims, signed with a key that is not the issuer's."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    payload = jwt.PyJWS().decode_complete(token, options={"verify_signature": False})
    return jwt.PyJWS().encode(
        payload["payload"], stranger, algorithm="RS256", headers={"kid": payload["header"]["kid"]}
    )


def pick(document: object, pointer: str) -> object:
    """Return the member of a JSON document, or a value equal to nothing else when there is none."""
    for name in pointer.split("/"):
        if isinstance(document, Mapping) and name in document:
            document = document[name]
        elif isinstance(document, list) and name == "#":
            document = len(document)
        elif isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            return _NOTHING
    return document


def differences(step: HttpStep, answer: Answer, variables: Mapping[str, str]) -> list[str]:
    """Return what of this answer is not as the step expects, as lines for a reader; none when all is well."""
    wrong = []
    if answer.status != step.status:
        wrong.append(f"expected status {step.status}, not {answer.status}")
    for pointer, expected in step.expect.items():
        wanted = (
            variables[expected[1:]] if isinstance(expected, str) and expected.startswith("$") else expected
        )
        found = pick(answer.document, pointer)
        if found is _NOTHING or (wanted is not PRESENT and found != wanted):
            wrong.append(f"expected {pointer}: {'any value' if wanted is PRESENT else json.dumps(wanted)}")
    if wrong:
        wrong.append(f"answered: {_public(answer)}")
    return wrong


def _public(answer: Answer) -> str:
    if isinstance(answer.document, Mapping):
        # `data` and `auth`: Vault's answers hold tokens there.
        hidden = {"SecretAccessKey", "SessionToken", "access_token", "data", "auth"}
        return json.dumps(
            {name: "(hidden)" if name in hidden else value for name, value in answer.document.items()}
        )
    return f"{len(answer.body)} bytes that are not a JSON object"


def _quoted(argument: str) -> str:
    return f'"{argument}"' if "$" in argument else shlex.quote(argument)
