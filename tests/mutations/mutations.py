"""Safeguards, each with the change that takes it away and the one test that must then fail.

The rule: a mutation removes exactly one safeguard (a sync, a check, a pin, a bound), and its test fails for that
reason. Who moves such a line moves it here too: `make test` sees that every line is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One safeguard.

    Attributes:
        name: what is taken away, in words.
        file: where, from the root of the tree. before: the text there, once. after: what stands there instead.
        test: the test that must fail, as pytest names it.
    """

    name: str
    file: str
    before: str
    after: str
    test: str


_INBOX = "tests/update/test_hostile_inbox.py::"
_WAY = "tests/update/test_way.py::"
_MACHINE = "tests/update/test_machine.py::"
_CRASH = "tests/crash/test_crash_points.py::"
_TREES = _CRASH + "test_no_cut_leaves_a_file_in_parts_or_a_generation_that_is_not_whole"
_AGENTS = "tests/update/test_new_agents.py::"
_USERS = "tests/attacks/test_local_user.py::"
_RESET = "tests/update/test_reset_trust.py::"

MUTATIONS = (
    Mutation(
        name="a file is synced before it gets its name",
        file="agent/update/files.py",
        before="            self.sync(temporary)\n",
        after="",
        test=_TREES,
    ),
    Mutation(
        name="the folder is synced after a file got its name",
        file="agent/update/files.py",
        before="            raise\n        self.sync_folder(path.parent)\n\n    def replace_link",
        after="            raise\n\n    def replace_link",
        test=_TREES,
    ),
    Mutation(
        name="every file of an object is synced before the object is named",
        file="agent/update/files.py",
        before="            else:\n                self.sync(entry)\n",
        after="",
        test=_TREES,
    ),
    Mutation(
        name="the folders of an object are synced before the object is named",
        file="agent/update/files.py",
        before="        self.chmod(folder, 0o555)\n        self.sync_folder(folder)\n",
        after="        self.chmod(folder, 0o555)\n",
        test=_TREES,
    ),
    Mutation(
        name="objects are durable before a generation names them",
        file="agent/update/objects.py",
        before="            self.files.rename(destination, final)\n            self.files.sync_folder(final.parent)\n",
        after="            self.files.rename(destination, final)\n",
        test=_TREES,
    ),
    Mutation(
        name="a generation's file is synced before the generation is named",
        file="agent/update/stage.py",
        before="    files.sync(made / GENERATION)\n",
        after="",
        test=_TREES,
    ),
    Mutation(
        name="confirmed is saved before `current` moves",
        file="agent/update/machine.py",
        before="        self.journal.save(confirmed",
        after="        self._link_current(number)\n        self.journal.save(confirmed",
        test=_TREES,
    ),
    Mutation(
        name="a trial that was taken back serves no more, whenever the run ended",
        file="agent/update/machine.py",
        before="        if ended and served_generation(self._folder) not in (None, record.current):\n",
        after="        if False:\n",
        test=_MACHINE
        + "test_an_update_that_falls_over_at_any_change_is_settled_by_the_next_run[fails-before]",
    ),
    Mutation(
        name="where a reference can't be followed nothing is reclaimed",
        file="agent/update/pinning.py",
        before="            raise StateDamaged(path=path, reason=str(error)) from error\n        pinned |=",
        after="            continue\n        pinned |=",
        test=_MACHINE + "test_what_is_referenced_stays_and_everything_else_goes",
    ),
    Mutation(
        name="what the layers of a pinned runtime are is pinned too",
        file="agent/update/pinning.py",
        before="        pinned |= {digest, *(layer.sha256 for layer in manifest.layers)}\n",
        after="        pinned |= {digest}\n",
        test=_MACHINE + "test_what_is_referenced_stays_and_everything_else_goes",
    ),
    Mutation(
        name="a new runtime's updater and supervisor are rehearsed before it serves",
        file="agent/update/machine.py",
        before="                new_runtime=self._new_runtime,\n",
        after="                new_runtime=False,\n",
        test=_AGENTS + "test_a_new_agent_that_could_not_carry_on_is_refused_before_it_serves",
    ),
    Mutation(
        name="the expiry of every role is compared with when the desired state was made",
        file="agent/update/verify.py",
        before="        self._check_time(document, path)\n",
        after="",
        test=_INBOX + "test_time_that_a_desired_state_was_made_after_its_metadata_expired_is_refused",
    ),
    Mutation(
        name="the counter begins anew with another desired key, and with that alone",
        file="agent/update/running.py",
        before="trust=verified.trust, counter=0 if record.trust else record.counter)",
        after="trust=verified.trust)",
        test="tests/attacks/test_tuf_fast_forward.py::test_a_counter_far_ahead_ends_with_the_desired_key",
    ),
    Mutation(
        name="files of the inbox are its owner's",
        file="agent/update/inbox.py",
        before="            if found.st_uid != self.path.lstat().st_uid:\n",
        after="            if False:\n",
        test="tests/attacks/test_inbox_races.py::test_a_blob_that_is_a_hard_link_to_somebody_elses_file_is_not_read",
    ),
    Mutation(
        name="no name twice in a layer but for case",
        file="agent/update/unpacking.py",
        before=" or str(path).casefold() in same:\n",
        after=":\n",
        test="tests/attacks/test_archives.py::test_a_hostile_archive_is_refused_and_leaves_nothing",
    ),
    Mutation(
        name="what serves was verified when it was opened",
        file="agent/models.py",
        before='        _verify(folder, entry, what=f"{manifest.model} for {manifest.profile}")\n',
        after="        pass\n",
        test="tests/agent/test_life.py::test_what_is_not_verified_is_not_run",
    ),
    Mutation(
        name="a report carries the board's own signature",
        file="edge/identity/reports.py",
        before="    if not verify_signed(signed, public_key):\n",
        after="    if False:\n",
        test="tests/attacks/test_verdicts.py::test_over_ssh_it_is_not_believed",
    ),
    Mutation(
        name="a report is not older than the last one",
        file="edge/identity/reports.py",
        before="    if signed.counter < counter_seen:\n",
        after="    if False:\n",
        test="tests/attacks/test_verdicts.py::test_over_ssh_it_is_not_believed",
    ),
    Mutation(
        name="a verdict is about what was asked for, not about its number",
        file="edge/rollouts/settling.py",
        before="        if reported.nonce != asked.nonce and reported.current != asked.content:\n",
        after="        if False:\n",
        test="tests/attacks/test_verdicts.py::test_a_true_report_of_an_earlier_desired_state_with_the_same_number_is_no_verdict_on_this_one",
    ),
    Mutation(
        name="the repository is anchored in the fleet's own root key",
        file="edge/repository/reading.py",
        before='    if not set(keyids) & set(root.signed.roles["root"].keyids):\n',
        after="    if False:\n",
        test="tests/repository/test_keys.py::test_an_older_repository_of_a_root_key_that_was_replaced_is_refused",
    ),
    Mutation(
        name="the check of a blob's hash while it is copied out of the inbox",
        file="agent/update/objects.py",
        before="            if hasher.hexdigest() != sha256:\n",
        after="            if False:\n",
        test=_INBOX + "test_a_file_that_was_tampered_with_is_refused_and_the_next_push_goes_through[flip]",
    ),
    Mutation(
        name="folders of the inbox are opened without following links",
        file="agent/update/inbox.py",
        before="_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC\n",
        after="_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC\n",
        test=_INBOX + "test_folders_of_the_inbox_that_are_links_are_not_followed",
    ),
    Mutation(
        name="a desired state must be newer than the last",
        file="agent/update/running.py",
        before="        if desired.counter <= seen:\n            raise ReplayRefused",
        after="        if False:\n            raise ReplayRefused",
        test=_INBOX + "test_another_desired_state_with_the_same_counter_is_refused",
    ),
    Mutation(
        name="a desired state is for this fleet and this device",
        file="agent/update/verify.py",
        before="        if (document.fleet, document.device) != (fleet, device):\n",
        after="        if False:\n",
        test=_INBOX + "test_a_desired_state_of_somebody_else_is_refused",
    ),
    Mutation(
        name="a bundle's release names it, with the same budgets",
        file="agent/update/stage.py",
        before="        _check_release(model, verifier=verifier, config=config)\n",
        after="",
        test=_INBOX + "test_a_bundle_under_the_name_or_budgets_of_another_release_is_refused",
    ),
    Mutation(
        name="a bundle fits the kind of board",
        file="agent/update/stage.py",
        before="        for reason in bundle_fits(manifest, runtime, profile=config.profile):\n",
        after="        for reason in ():\n",
        test="tests/attacks/test_tuf_mix.py::"
        "test_a_bundle_that_only_calls_itself_right_is_judged_by_what_it_is_made_for",
    ),
    Mutation(
        name="an attempt is counted before it begins",
        file="agent/update/machine.py",
        before="            self.journal.commit(replace(record, attempts=record.attempts + 1))\n",
        after="            self.journal.commit(record)\n",
        test=_MACHINE + "test_what_always_breaks_off_is_given_up_after_its_attempts[probation-cut]",
    ),
    Mutation(
        name="the generation before `current` is pinned until it is let go",
        file="agent/update/machine.py",
        before="(record.current, record.previous) if number is not None)\n        try:",
        after="(record.current,) if number is not None)\n        try:",
        test=_WAY + "test_a_good_version_replaces_and_the_one_before_stays_pinned_until_finalised",
    ),
    Mutation(
        name="what was trusted before goes with the root that it came by",
        file="agent/install/anew.py",
        before="    DISK.remove_tree(folder.tuf_metadata)\n",
        after="",
        test=_RESET + "test_a_lost_fleets_board_serves_on_until_the_new_fleets_release_is_confirmed",
    ),
    Mutation(
        name="the clock's floor of an earlier trust is forgotten",
        file="agent/install/anew.py",
        before="        clock_floor=0,\n",
        after="",
        test=_RESET + "test_a_damaged_record_and_a_hostile_clock_floor_do_not_stand_in_the_way",
    ),
    Mutation(
        name="a board's fleet is replaced on purpose only",
        file="agent/install/enrolling.py",
        before="    if foreign and not (request.adopt or request.reset_trust):\n",
        after="    if False:\n",
        test=_RESET + "test_a_lost_fleets_board_serves_on_until_the_new_fleets_release_is_confirmed",
    ),
    Mutation(
        name="an old copy goes past bins that no board reports",
        file="edge/repository/versions.py",
        before="                role.version = snapshot.version\n",
        after="                pass\n",
        test="tests/repository/test_versions.py::test_bins_that_the_board_does_not_report_are_gone_past_too",
    ),
    Mutation(
        name="one board's word leads so far and no further",
        file="edge/repository/versions.py",
        before="            if most is not None and one.version - own.version > most:\n",
        after="            if False:\n",
        test="tests/repository/test_versions.py::test_a_board_that_says_anything_drags_nobody_along",
    ),
    Mutation(
        name="no backup's passphrase takes all memory",
        file="edge/backup/seal.py",
        before="    if (log_n := int(header[1])) > MOST_LOG_N:\n",
        after="    if (log_n := int(header[1])) > 99:\n",
        test="tests/backup/test_seal.py::test_no_passphrase_is_made_to_cost_all_memory",
    ),
    Mutation(
        name="a backup's files are taken under a backup's names only",
        file="edge/backup/archive.py",
        before="            if not member.isreg() or not _is_ours(member.name):\n",
        after="            if not member.isreg():\n",
        test="tests/backup/test_backup.py::test_a_backup_that_leads_elsewhere_writes_nothing[../out]",
    ),
    Mutation(
        name="`edge.toml` goes first when a folder is replaced",
        file="edge/backup/restoring.py",
        before="for part in (EDGE_TOML, *(part for part in SWAPPED if part != EDGE_TOML)):",
        after="for part in SWAPPED:",
        test="tests/backup/test_backup.py::test_cut_anywhere_nothing_is_lost_and_the_same_again_finishes_it",
    ),
)


def table(mutations: Sequence[Mutation] = MUTATIONS) -> str:
    """The list as the docs show it."""
    rows = (f"| {one.name} | `{one.file}` | `{one.test.partition('::')[2]}` |" for one in mutations)
    return "\n".join(("| taken away | in | test that fails |", "|---|---|---|", *rows))
