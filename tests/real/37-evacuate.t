#!/bin/bash
# A host of a running job is emptied: the plan is told first, then carried out onto a third host; where time is too
# short a checkpoint is taken instead, and the job comes back from it elsewhere.  At last it is suspended and resumed.
# shellcheck source=tests/real/hosts.sh
. "$(dirname "$0")/hosts.sh"
migrations_configured

hosts_start 3 1
plan=$(vckpt evacuate heat h1 --to h3 --dry-run --json)
expect_eq "the plan is told, with its reason" \
	"$(jq -r '[.state, (.moves[] | .guest, .from, .to, .state)] | join(" ")' <<<"$plan")" "planned n1 h1 h3 planned"
expect_match "and is what it says" "$(jq -r '.moves[].why' <<<"$plan")" 'fewest guests of the job \(0 of them, [0-9]+ MiB left'
only_on n1 h1 || fail "nothing was done"
said=$(vckpt evacuate heat h1 --to h3 --why "fan failure" 2>&1)
expect_match "all guests leave the host" "$?: $said" '^0: heat: done in .*'
expect_ok "they run there and only there" eval 'only_on n1 h3 && only_on n2 h2'
heat_moves "the job goes on"
expect_match "the log has it" "$(vckpt log heat)" 'evacuate .*done .*fan failure'
expect_ok "brought together on one host" vckpt consolidate heat
expect_ok "one host is empty" eval 'only_on n1 h2 && only_on n2 h2 || { only_on n1 h3 && only_on n2 h3; }'
at=h2
only_on n1 h2 || at=h3
said=$(vckpt make-room heat $at --memory 300 --to h1 --reserve 1 2>&1)
expect_match "a host with room enough needs nobody to go" "$?: $said" '^0: .*nothing had to move'

# No guest gets through so narrow a link in this time, however fast the machine.
said=$(vckpt evacuate heat $at --to h1 --limit 4 --deadline 2 2>&1)
expect_match "where time is too short there is a checkpoint" "$?: $said" '^0: heat: not all guests moved, so the job is safe as epoch 1'
expect_ok "the guests are where they were" eval "only_on n1 $at && only_on n2 $at"
heat_moves "the job goes on"
kill_on $at n1 n2
expect_ok "the host's guests die, and the job comes back elsewhere" vckpt restart heat --on h1
expect_ok "it runs there" eval 'only_on n1 h1 && only_on n2 h1'

said=$(vckpt suspend heat --why "the hosts are needed" 2>&1)
expect_match "suspended" "$?: $said" '^0: heat: suspended, epoch [0-9]+ committed'
expect_ok "nobody runs anywhere" eval 'only_on n1 none && only_on n2 none'
expect_match "which is said" "$(echo $(vckpt status heat; vckpt hosts heat))" 'suspended: .vckpt resume heat.*n1 n2 \(suspended\)'
expect_ok "resumed on two other hosts" vckpt resume heat --on n1=h2,n2=h3
expect_ok "it runs there and only there" eval 'only_on n1 h2 && only_on n2 h3'
expect_match "the log has both" "$(echo $(vckpt log heat))" 'suspend .*the hosts are needed.*resume .*running'
heat_ends "the job ends right"
finish
