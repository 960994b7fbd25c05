#!/bin/bash
# vckpt is killed at the beginning of each phase: no guest stays paused, held or frozen, the epoch does not
# exist, and the next checkpoint works.  A restart that is cut short leaves no guest, and can be done again.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_pause=100
heat_start 2
for phase in prepare quiet stop "device state" run release progress commit; do
	vckpt_stopped "$phase" checkpoint heat || continue
	vckpt_signal KILL
	wait "$vckpt_job" 2>/dev/null
	expect_ok "vckpt killed at '$phase': the guests run and answer" wait_until 20 guests_free
	expect_eq "vckpt killed at '$phase': there is no epoch" "$(epochs)" ""
	heat_moves "vckpt killed at '$phase': the job goes on"
done
for phase in prepare quiet stop stream; do
	vckpt_stopped "$phase" checkpoint heat || continue
	vckpt_signal INT
	vckpt_signal CONT
	wait "$vckpt_job"
	expect_eq "Ctrl-C at '$phase' is a clean end" $? 12
	expect_ok "Ctrl-C at '$phase': the guests run and answer" wait_until 20 guests_free
done
expect_ok "afterwards a checkpoint works" vckpt checkpoint heat

# The same in a restart.
both_off()
{
	guest_is n1 "shut off" && guest_is n2 "shut off"
}

for phase in survey mark restore progress wake; do
	vckpt kill heat >/dev/null || fail "kill"
	vckpt_stopped "$phase" restart heat || continue
	vckpt_signal KILL
	wait "$vckpt_job" 2>/dev/null
	expect_ok "vckpt killed at '$phase' of a restart: no guest is left" wait_until 20 both_off
	expect_ok "vckpt killed at '$phase' of a restart: it can be done again" vckpt restart heat
	heat_moves "vckpt killed at '$phase' of a restart: then the job goes on"
done
heat_ends "the job ends right"
finish
