#!/bin/bash
# vckptd is killed at the beginning of each phase: the checkpoint fails (or had all it needed), and the next
# vckptd leaves no guest paused, held or frozen.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_pause=100
heat_start 2
for phase in prepare quiet stop "device state" run release progress commit; do
	vckpt_stopped "$phase" checkpoint heat || continue
	n=$(epochs | wc -w)
	vckptd_kill
	vckpt_signal CONT
	wait "$vckpt_job" 2>/dev/null
	said=$?
	if [ "$phase" = commit ]; then
		expect_eq "vckptd killed at '$phase': the epoch is there" "$said, $(epochs | wc -w)" "0, $((n + 1))"
	else
		expect_eq "vckptd killed at '$phase': vckpt says so, no epoch" "$said, $(epochs | wc -w)" "10, $n"
	fi
	# Whatever is asked next starts a vckptd, and that one sets right what the last left.
	vckpt status heat >/dev/null
	expect_ok "vckptd killed at '$phase': the guests run and answer" wait_until 30 guests_free
	heat_moves "vckptd killed at '$phase': the job goes on"
done
# And both at once.
for phase in stop "device state" run progress; do
	vckpt_stopped "$phase" checkpoint heat || continue
	vckptd_kill
	vckpt_signal KILL
	wait "$vckpt_job" 2>/dev/null
	vckpt status heat >/dev/null
	expect_ok "both killed at '$phase': the guests run and answer" wait_until 30 guests_free
done
expect_ok "afterwards a checkpoint works" vckpt checkpoint heat
kill_guest n1 n2
expect_ok "and a restart from it" vckpt restart heat
heat_ends "the job ends right"
finish
