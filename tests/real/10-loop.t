#!/bin/bash
# The whole loop: two guests, two ranks in each, three checkpoints in one run, all guests killed, and a
# restart from each epoch that ends with the right answer; one epoch twice; and a checkpoint of a restored
# job, restored again.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_start 2
for i in 1 2 3; do
	expect_ok "checkpoint $i" vckpt checkpoint heat
	heat_moves "the job goes on after checkpoint $i"
done
expect_eq "three epochs are listed" "$(epochs)" "1 2 3 "
expect_eq "the third refers to more than it writes, in each guest" \
	"$(vckpt show heat@3 --json | jq -c '[.guests[].pages | .inherited > .written]')" "[true,true]"
expect_ok "no guest is held" guests_free
expect_fail "a restart beside running guests is refused" vckpt restart heat
expect_ok "and did them no harm" guests_free
heat_ends "the checkpointed job ends right"

for e in 3 1 2 2; do
	kill_guest n1 n2
	expect_ok "restart from epoch $e" vckpt restart "heat@$e"
	expect_ok "all guests run after the restart from $e" guests_free
	heat_ends "the job restored from epoch $e ends right"
done

expect_ok "restart over running guests when told to destroy them" vckpt restart heat@1 --destroy
heat_moves "the restored job runs"
expect_ok "a restored job is checkpointed, whole" vckpt checkpoint heat --whole
expect_eq "which refers to no other epoch" \
	"$(vckpt show heat@4 --json | jq -c '[.guests[] | .pages.inherited, (.needs | map(startswith("000004/")) | all)]')" \
	"[0,true,0,true]"
expect_eq "the new epoch follows the others" "$(epochs)" "1 2 3 4 "
expect_ok "vckpt kill" vckpt kill heat
expect_ok "restart of a restored job" vckpt restart heat
heat_ends "two restores deep, the answer is right"
expect_eq "each restart was an incarnation" "$(vckpt status heat --json | jq .incarnation)" 6
expect_eq "the log tells of all of it" "$(vckpt log heat --json | jq -r '.[] | .action + " " + .state' | sort | uniq -c |
	awk '{printf "%s%s %s %s", (NR > 1 ? ", " : ""), $1, $2, $3}')" \
	"1 adopt adopted, 4 checkpoint committed, 1 kill killed, 1 restart failed, 6 restart running"
expect_eq "the timeline has every step of each guest" \
	"$(vckpt timeline heat@1 --json | jq -c '[.guests[] | .steps | length]')" "[7,7]"
expect_match "and is drawn" "$(vckpt timeline heat@1 --svg)" '^<svg .*'
finish
