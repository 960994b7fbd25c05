#!/bin/bash
# Restored two minutes later: timers, keep-alives and clocks of the guests have to bear it.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_start 2
expect_ok "checkpoint" vckpt checkpoint heat
expect_ok "kill" vckpt kill heat
sleep 120 # the time that passes is what is tested
expect_ok "restart two minutes later" vckpt restart heat
lag=$(($(date +%s) - $("$lab" run n1 'date +%s')))
expect_ok "the guest's clock is right again (off by $lag s)" test "${lag#-}" -le 2
heat_ends "the job ends right"
finish
