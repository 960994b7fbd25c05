#!/bin/bash
# Two coordinators at once: the second is told who has it, and does no harm.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_pause=100
heat_start 2
for phase in prepare stream; do
	vckpt_stopped "$phase" checkpoint heat || continue
	said=$(vckpt checkpoint heat 2>&1)
	expect_eq "at '$phase' a second checkpoint is refused as busy" $? 4
	expect_match "and told who has it" "$said" "pid $vckpt_pid|vckpt checkpoint"
	said=$(vckpt restart heat --destroy 2>&1)
	expect_eq "at '$phase' a restart is refused as busy" $? 4
	expect_ok "at '$phase' status still answers" vckpt status heat
	vckpt_signal CONT
	wait "$vckpt_job"
	expect_eq "the first one, at '$phase', is not disturbed" $? 0
done
expect_eq "both epochs are there" "$(epochs)" "1 2 "
heat_ends "the job ends right"
finish
