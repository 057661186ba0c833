"""What is switched off, asked on every call; what cannot be read counts as off."""

from gateway.errors import AccessDenied, ErrorCode, Unavailable
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.token import VerifiedToken
from gateway.policy.holdings import Holdings
from gateway.policy.rule import Grant, Workflow
from gateway.state.switches import SwitchBoard, Switches

_HINT = "Ask the gateway's administrators; give them the request id."


class SwitchGate:
    """Lets pass what nobody has switched off. Each method raises Unavailable (`switches_unavailable`), too."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def issuer(self, issuer: TrustedIssuer) -> None:
        """Pass an issuer, before anything of it is looked up; raises AccessDenied (`issuer_disabled`)."""
        if ("issuer", issuer.name) in self._board().off:
            raise AccessDenied(
                ErrorCode.ISSUER_DISABLED,
                "An administrator has switched this token's issuer off.",
                hint=_HINT,
            )

    def subject(self, token: VerifiedToken) -> None:
        """Pass who a verified token speaks for; raises AccessDenied (`subject_disabled`)."""
        if ("subject", f"{token.issuer.name} {token.principal.subject}") in self._board().off:
            raise AccessDenied(
                ErrorCode.SUBJECT_DISABLED, "An administrator has switched this identity off.", hint=_HINT
            )

    def rules_off(self) -> frozenset[str]:
        """Return the ids of the rules that are off."""
        return self._board().rules

    def start(self, workflow: Workflow) -> None:
        """Pass the start of a workflow that a rule allows; raises AccessDenied (`workflow_disabled`)."""
        if not self.may_start(workflow):
            raise AccessDenied(
                ErrorCode.WORKFLOW_DISABLED,
                f"An administrator has switched {workflow.name} off: nothing starts it; what runs can be seen and stopped.",
                hint=_HINT,
            )

    def may_start(self, workflow: Workflow) -> bool:
        """Say whether the workflow is not switched off."""
        return ("workflow", workflow.name) not in self._board().off

    def what_is_on(self, holdings: Holdings) -> Holdings:
        """Return what is left of it without the starts of workflows that are switched off."""
        if not self._board().off:
            return holdings
        grants = [held for held in holdings.grants if self._is_on(held.grant)]
        return Holdings(grants=tuple(grants))

    def _is_on(self, grant: Grant) -> bool:
        return grant.verb != "start" or grant.workflow is None or self.may_start(grant.workflow)

    def _board(self) -> SwitchBoard:
        board = self._switches.current()
        if not board.readable:
            raise Unavailable(
                ErrorCode.SWITCHES_UNAVAILABLE,
                "What is switched off cannot be read at the moment, so everything counts as switched off.",
                hint="Try again later; the gateway's operators have an alarm.",
                retry_after_s=5,
            )
        return board
