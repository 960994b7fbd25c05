#!/bin/bash
# vckptd is killed between its own steps: after what it is about to do is noted and before it is done, in the
# middle of a capture, in the middle of a restore.  The next vckptd sets right what it finds; no guest stays
# paused, held or frozen, and nothing half restored stays.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_pause=100
heat_start 2
expect_ok "a first checkpoint" vckpt checkpoint heat

# in_checkpoint TEXT [OPTIONS]: killed where it logs this, while it does a checkpoint.
in_checkpoint()
{
	local text=$1
	shift
	vckptd_stopping "guest n1: $text" checkpoint heat "$@" || return
	vckptd_kill
	wait "$vckpt_job" 2>/dev/null
	# Whatever is asked next starts a vckptd.
	vckpt status heat >/dev/null || fail "'$text'${*:+ ($*)}: a vckptd starts again"
	expect_ok "killed at '$text'${*:+ ($*)}: the guests run and answer" wait_until 30 guests_free
	expect_eq "killed at '$text'${*:+ ($*)}: nothing is left to be set right" "$(journal)" ""
}

journal()
{
	"$lab" exec h1 ls /run/vckpt/journal
}

for text in "noted as prepared" "prepare: ok" "hold begins" "hold: ok" "noted as paused" "pause: ok" \
	"cut: ok" "captured" "run: ok" "noted as running" "release: ok"; do
	in_checkpoint "$text"
done
for text in "noted as paused" "cut: ok" "captured" "run begins"; do
	in_checkpoint "$text" --engine stop-copy
done
heat_moves "the job goes on after all that"
expect_eq "no epoch came of it" "$(epochs)" "1 "

# Once the commit is done, it is done.
vckptd_stopping "guest n1: committed begins" checkpoint heat && {
	vckptd_kill
	wait "$vckpt_job" 2>/dev/null
	expect_eq "killed when told of the commit: the epoch is there" "$(epochs | wc -w)" 2
	expect_ok "killed when told of the commit: the guests run and answer" wait_until 30 guests_free
}

for text in "noted as rebuilding" "restored" "noted as rebuilt" "restore: ok" "wake begins" "wake: ok"; do
	vckpt kill heat >/dev/null || fail "kill"
	vckptd_stopping "guest n1: $text" restart heat || continue
	vckptd_kill
	wait "$vckpt_job" 2>/dev/null
	expect_ok "killed at '$text': it can be restarted again" vckpt restart heat --destroy
	expect_ok "killed at '$text': the guests run and answer" guests_free
	heat_moves "killed at '$text': the job goes on"
done
heat_ends "the job ends right"
finish
