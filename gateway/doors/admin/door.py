"""The admin listener's requests: state, rules, explanations, reload and switches. Each leaves a record of who asked."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from gateway.admin.dry_run import run_dry
from gateway.admin.explain import as_json, explain
from gateway.admin.reload import reload_changes
from gateway.audit.administration import AdminLog
from gateway.audit.document import moment
from gateway.audit.record import AdminAct, Record
from gateway.clock import Clock
from gateway.doors.admin.access import Gatekeeper, NotAdmitted
from gateway.doors.admin.documents import (
    Document,
    answer_document,
    board_document,
    issuers_document,
    policy_document,
    rule_document,
    rule_line,
    switch_document,
    worker_document,
)
from gateway.doors.admin.inbound import asked_of, malformed, no_body, page_of, switched, wish_of
from gateway.doors.admin.places import MOST_LOOKS, MOST_READS, Places
from gateway.doors.documents import json_response
from gateway.doors.inbound import json_members, no_query
from gateway.doors.leaving import while_present
from gateway.errors import ErrorCode, GatewayError, RequestRejected, Unavailable
from gateway.files.source import Finding
from gateway.identity.keys import Keys
from gateway.policy.admin_rights import Right
from gateway.policy.snapshot import Policy, PolicySource
from gateway.state.board import Status
from gateway.state.switch_document import SwitchesInvalid, judge_switch
from gateway.state.switches import Switch, Switches, SwitchKind, SwitchStore

_log = logging.getLogger("gateway.admin")

# The name is in the query: a subject has a blank, and no path here holds an escape.
_SWITCH = "/admin/v1/switches/{kind}"
#: How long switching off waits for its record: in an emergency a sick disk must not keep anybody from it.
_RECORD_S = 1.0


class ReloadablePolicy(PolicySource, Protocol):
    """The policy in force and the folder it comes from."""

    def findings(self) -> tuple[Finding, ...]:
        """Return what was found when the folder was last read."""
        ...

    async def reload(self) -> tuple[Finding, ...]:
        """Read the configured folder now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The parts of a running gateway that administrators see and turn.

    worker:  our own name on the board; None where there is one process.
    workers: everybody's status.
    facts:   limits and the health of the audit record, read on every request.
    stories: the records of every request that a request id, session, execution or token digest leads to; ends when it
             is cancelled, and raises Unavailable (`overloaded`) when there are too many to look through.
    turning: told of a switch that is about to be turned and recorded here.
    """

    policies: ReloadablePolicy
    keys: Keys
    switches: Switches
    store: SwitchStore
    log: AdminLog
    clock: Clock
    worker: str | None
    started_at: float
    workers: Callable[[], Awaitable[tuple[Status, ...]]]
    facts: Callable[[], Mapping[str, object]]
    stories: Callable[[str], Coroutine[object, object, list[list[Record]]]]
    turning: Callable[[Switch], None]


class AdminDoor:
    """Answers administrators. Nothing here starts, exchanges or fetches anything."""

    def __init__(self, running: Running, gatekeeper: Gatekeeper) -> None:
        self._running = running
        self._gatekeeper = gatekeeper
        self._looks = Places(MOST_LOOKS, "looks through the records")

    async def state(self, request: Request) -> Response:
        """`GET /admin/v1/state`."""
        who = await self._admit(request, "read", "view", "state")
        no_query(request)
        running = self._running
        policy = running.policies.current()
        self._note(request, "view", who, "state")
        return json_response(
            {
                "version": version("oidc-gateway"),
                "worker": running.worker,
                "started_at": moment(running.started_at),
                "policy": policy_document(running.policies.state(), policy, running.policies.findings()),
                "issuers": issuers_document(policy, running.keys.states()),
                "switches": board_document(running.switches.current()),
                "workers": [worker_document(one) for one in await running.workers()],
                **running.facts(),
            }
        )

    async def rules(self, request: Request) -> Response:
        """`GET /admin/v1/policy/rules?team=&issuer=&after=&limit=`."""
        who = await self._admit(request, "read", "view", "rules")
        page = page_of(request)
        policy = self._running.policies.current()
        found = [
            rule
            for rule in sorted(policy.rules.values(), key=lambda one: one.id)
            if page.team in (None, rule.team)
            if page.issuer is None or page.issuer in rule.issuers
            if page.after is None or rule.id > page.after
        ]
        self._note(request, "view", who, "rules")
        shown = found[: page.limit]
        return json_response(
            {
                "policy": policy.digest,
                "rules": [rule_line(rule) for rule in shown],
                "next": shown[-1].id if len(found) > len(shown) else None,
            }
        )

    async def rule(self, request: Request) -> Response:
        """`GET /admin/v1/policy/rules/{id}`."""
        rule_id = request.path_params["id"]
        who = await self._admit(request, "read", "view", f"rule {rule_id}")
        no_query(request)
        policy = self._running.policies.current()
        rule = policy.rules.get(rule_id)
        if rule is None:
            raise _not_there("There is no rule of this id in force.")
        self._note(request, "view", who, f"rule {rule.id}")
        off = self._running.switches.current().off.get(("rule", rule.id))
        return json_response(
            {
                "policy": policy.digest,
                **rule_document(rule, policy),
                "switched_off": switch_document(off) if off else None,
            }
        )

    async def explain_token(self, request: Request) -> Response:
        """`POST /admin/v1/explain`: what would happen to a token or to claims, without any effect."""
        who = await self._admit(request, "read", "explain", "a token")
        no_query(request)
        members = await json_members(request)
        running = self._running
        policy = running.policies.current()
        asked, wish = asked_of(members, policy), wish_of(members)
        members.end()
        answer = run_dry(
            asked,
            policy,
            wish,
            now=running.clock.wall(),
            known_key=running.keys.known,
            board=running.switches.current(),
        )
        self._note(request, "explain", who, f"token {answer.token}" if answer.token else "claims")
        return json_response(answer_document(answer, policy))

    async def explain_request(self, request: Request) -> Response:
        """`GET /admin/v1/explain/{what}`: what happened to a request, from the audit record."""
        what = request.path_params["what"]
        who = await self._admit(request, "read", "explain", what)
        no_query(request)
        with self._looks.one():
            # Before the look: who leaves meanwhile has asked all the same.
            self._note(request, "explain", who, what)
            stories = await while_present(request, self._running.stories(what))
        if not stories:
            raise _not_there(
                "No record speaks of it.",
                "Other gateways keep records of their own; refusals before a token was read leave none.",
            )
        return json_response({"requests": [as_json(explain(story)) for story in stories]})

    async def reload(self, request: Request) -> Response:
        """`POST /admin/v1/reload`: read the configured folder again, and nothing else."""
        who = await self._admit(request, "write", "reload", "files")
        no_query(request)
        await no_body(request)
        policies = self._running.policies
        before = policies.current()
        await self._intend(request, "reload", who, "files", change="? the files are read again")
        findings = await policies.reload()
        after, state = policies.current(), policies.state()
        changes = reload_changes(before, after, state, findings)
        self._note(request, "reload", who, "files", changes=changes)
        return json_response(
            {
                "accepted": state.state == "current",
                "changed": before.digest != after.digest,
                "before": before.digest,
                "policy": policy_document(state, after, findings),
                "changes": list(changes),
            }
        )

    async def switches(self, request: Request) -> Response:
        """`GET /admin/v1/switches`: what is off, read from the store now."""
        who = await self._admit(request, "read", "view", "switches")
        no_query(request)
        board = await self._running.store.read()
        self._note(request, "view", who, "switches")
        return json_response(board_document(board))

    async def show_switch(self, request: Request) -> Response:
        """`GET /admin/v1/switches/{kind}?name=`."""
        kind, name = switched(request)
        who = await self._admit(request, "read", "view", f"switch {kind} {name}")
        board = await self._running.store.read()
        self._note(request, "view", who, f"switch {kind} {name}")
        return json_response(_turned(kind, name, board.off.get((kind, name))))

    async def switch_off(self, request: Request) -> Response:
        """`PUT /admin/v1/switches/{kind}?name=` with `{"why": …}`."""
        kind, name = switched(request)
        who = await self._admit(request, "write", "switch", f"{kind} {name}")
        switch = await self._switch(request, kind, name, who)
        _must_exist(kind, name, self._running.policies.current())
        await self._intend_off(request, switch)
        async with self._turning(request, switch):
            changed = await self._running.store.turn_off(switch)
            board = await self._running.store.read()
        change = f"+ off {kind} {name}" if changed else f"= {kind} {name} was off already"
        self._note(request, "switch", who, f"{kind} {name}", why=switch.why, changes=(change,))
        return json_response(_turned(kind, name, board.off.get((kind, name))) | {"changed": changed})

    async def switch_on(self, request: Request) -> Response:
        """`DELETE /admin/v1/switches/{kind}?name=` with `{"why": …}`: switch on again."""
        kind, name = switched(request)
        who = await self._admit(request, "write", "switch", f"{kind} {name}")
        switch = await self._switch(request, kind, name, who)
        await self._intend(
            request, "switch", who, f"{kind} {name}", change=f"? on {kind} {name}", why=switch.why
        )
        async with self._turning(request, switch):
            was = await self._running.store.turn_on(switch)
        change = f"- off {kind} {name}" if was else f"= {kind} {name} was not off"
        self._note(request, "switch", who, f"{kind} {name}", why=switch.why, changes=(change,))
        document = _turned(kind, name, None) | {"changed": was is not None}
        return json_response(document | {"was": switch_document(was) if was else None})

    async def _switch(self, request: Request, kind: SwitchKind, name: str, who: str) -> Switch:
        members = await json_members(request)
        why = members.text("why")
        members.end()
        switch = Switch(kind=kind, name=name, why=why, by=who, at=self._running.clock.wall())
        try:
            judge_switch(switch)
        except SwitchesInvalid as fault:
            raise malformed(str(fault)) from None
        return switch

    async def _intend_off(self, request: Request, switch: Switch) -> None:
        about = f"{switch.kind} {switch.name}"
        try:
            await self._intend(
                request,
                "switch",
                switch.by,
                about,
                change=f"? off {about}",
                why=switch.why,
                within_s=_RECORD_S,
            )
        except Unavailable as fault:
            # It only takes away, and nothing can be granted while nothing can be recorded.
            _log.error("switching off without a durable record", extra={"code": str(fault.code)})

    @asynccontextmanager
    async def _turning(self, request: Request, switch: Switch) -> AsyncIterator[None]:
        """Record how turning it failed; how it went well is recorded by whoever knows it."""
        self._running.turning(switch)
        try:
            yield
        except GatewayError as fault:
            about = f"{switch.kind} {switch.name}"
            self._note(request, "switch", switch.by, about, why=switch.why, code=fault.code)
            raise

    async def _intend(
        self,
        request: Request,
        act: AdminAct,
        who: str,
        about: str,
        *,
        change: str,
        why: str | None = None,
        within_s: float | None = None,
    ) -> None:
        """Have it recorded before it is done; raises Unavailable (`audit_unavailable`)."""
        await self._running.log.intend(
            act,
            actor=who,
            object=about,
            why=why,
            changes=(change,),
            request_id=request.scope["state"]["request_id"],
            source=request.client.host if request.client else None,
            within_s=within_s,
        )

    async def _admit(self, request: Request, right: Right, act: AdminAct, about: str) -> str:
        try:
            return await self._gatekeeper.admit(request, right)
        except NotAdmitted as refusal:
            self._note(request, act, refusal.who, about, code=refusal.code)
            raise

    def _note(
        self,
        request: Request,
        act: AdminAct,
        who: str,
        about: str,
        *,
        why: str | None = None,
        changes: tuple[str, ...] = (),
        code: ErrorCode | None = None,
    ) -> None:
        self._running.log.note(
            act,
            actor=who,
            object=about,
            why=why,
            changes=changes,
            code=code,
            request_id=request.scope["state"]["request_id"],
            source=request.client.host if request.client else None,
        )


def admin_router(door: AdminDoor) -> Router:
    """Return the routes of the admin listener; they are on no other."""
    looking = Places(MOST_READS, "requests that look").bounded
    return Router(
        [
            Route("/admin/v1/state", looking(door.state), methods=["GET"]),
            Route("/admin/v1/policy/rules", looking(door.rules), methods=["GET"]),
            Route("/admin/v1/policy/rules/{id}", looking(door.rule), methods=["GET"]),
            Route("/admin/v1/explain", looking(door.explain_token), methods=["POST"]),
            Route("/admin/v1/explain/{what:path}", looking(door.explain_request), methods=["GET"]),
            Route("/admin/v1/reload", door.reload, methods=["POST"]),
            Route("/admin/v1/switches", looking(door.switches), methods=["GET"]),
            Route(_SWITCH, looking(door.show_switch), methods=["GET"]),
            Route(_SWITCH, door.switch_off, methods=["PUT"]),
            Route(_SWITCH, door.switch_on, methods=["DELETE"]),
        ],
        redirect_slashes=False,
        default=_nothing_here,
    )


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    raise _not_there("There is nothing at this address.", "The README lists what administrators can ask.")


def _turned(kind: SwitchKind, name: str, off: Switch | None) -> Document:
    return {
        "kind": kind,
        "name": name,
        "off": off is not None,
        "switch": switch_document(off) if off else None,
    }


def _must_exist(kind: SwitchKind, name: str, policy: Policy) -> None:
    """Refuse a name that nothing bears: whoever misspells it in an emergency must not believe it is off."""
    issuers = {one.name for one in policy.issuers.values()}
    known = {
        "issuer": name in issuers,
        "rule": name in policy.rules,
        "workflow": name in policy.workflows,
        "subject": name.partition(" ")[0] in issuers and name.partition(" ")[2] != "",
    }
    if not known[kind]:
        hint = "A subject is the issuer's name, a blank, and `sub`." if kind == "subject" else None
        raise _not_there(f"There is no such {kind} in the policy in force.", hint)


def _not_there(message: str, hint: str | None = None) -> RequestRejected:
    return RequestRejected(ErrorCode.NOT_FOUND, message, hint=hint)
