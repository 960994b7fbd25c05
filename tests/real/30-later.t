#!/bin/bash
# Restored two minutes later: timers, keep-alives and clocks of the guests have to bear it.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_start 2
expect_ok "checkpoint" vckpt checkpoint heat
expect_ok "kill" vckpt kill heat
sleep 120 # the time that passes is what is tested
expect_ok "restart two minutes later" vckpt restart heat
before=$(date +%s) # asking takes its time on a busy machine
there=$("$lab" run n1 'date +%s')
after=$(date +%s)
expect_ok "the guest's clock is right again ($before <= $there <= $after)" \
	test "$there" -ge $((before - 2)) -a "$there" -le $((after + 2))
heat_ends "the job ends right"
finish
