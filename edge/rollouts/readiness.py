"""Everything that a rollout will need, made before it begins, while somebody is there.

The rule: at night no passphrase is asked for, nothing is downloaded, and no board is the first to find out that the
release does not fit it.
"""

from __future__ import annotations

from agent.contract.errors import ModelsApart, PlanInvalid, PlatformUnsupported, WrongBoard
from edge.progress import Progress
from edge.rollouts.plan import Plan
from edge.rollouts.preparation import generation_with
from edge.rollouts.workspace import Workspace


def make_ready(workspace: Workspace, plan: Plan, progress: Progress) -> None:
    """Have a runtime in the repository for each board of a plan, by what the boards were asked for last.

    Raises:
        PlanInvalid: the release does not fit a board; nothing has begun.
        PassphraseMissing, PassphraseWrong: a runtime is new to the repository.
    """
    release = workspace.repository.release(plan.release)
    seen = set()
    for member in plan.members:
        device = workspace.inventory.get(member.device)
        last = workspace.repository.desired(member.device_id)
        current = last.generation if last else None
        facts = device.facts
        assert facts is not None, "a member was probed"
        kind = (member.profile, facts.architecture, facts.python, facts.glibc, current and current.title)
        if kind in seen:
            continue
        seen.add(kind)
        try:
            generation_with(
                workspace, release, workspace.profile(member.profile), facts, current, device=member.device
            )
        except (ModelsApart, PlatformUnsupported, WrongBoard) as error:
            raise PlanInvalid(what=member.device, reason=str(error)) from error
    progress.step(f"{plan.release} fits all boards of the plan")
