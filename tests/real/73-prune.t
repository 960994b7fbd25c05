#!/bin/bash
# Three checkpoints of a job that goes on; all but the newest are pruned while it runs. What is kept is whole, is built
# upon by a fourth, and restores right; a checkpoint and a prune keep out of each other's way.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

# What the captures take on the disk.
kib()
{
	"$lab" exec h1 du -sk "$VCKPT_STORE/clusters/heat/data" | cut -f1
}

heat_pause=100
heat_start 2
for i in 1 2 3; do
	expect_ok "checkpoint $i" vckpt checkpoint heat
	heat_moves "the job goes on after $i"
done
expect_ok "all is whole" vckpt check --read-data heat
before=$(kib)
said=$(vckpt prune heat --keep-last 1 --dry-run --json)
expect_eq "two are to go" "$(jq -c .dropped <<<"$said")" "[1,2]"
expect_eq "and are still there" "$(epochs)" "1 2 3 "
said=$(vckpt prune heat --keep-last 1 --json)
expect_eq "they are dropped" "$(jq -c .dropped <<<"$said")" "[1,2]"
expect_eq "one is left" "$(epochs)" "3 "
expect_ok "room was given back: $before KiB, now $(kib)" test "$(kib)" -lt "$before"
expect_match "the history knows" "$(vckpt log heat)" 'prune .*pruned'
expect_ok "what is left is whole" vckpt check --read-data heat
expect_ok "a checkpoint upon it" vckpt checkpoint heat
heat_moves "the job goes on"
expect_ok "kill" vckpt kill heat
said=$(vckpt prune heat@3 --json)
expect_eq "a named one goes" "$(jq -c .dropped <<<"$said")" "[3]"
expect_ok "the newest restores" vckpt restart heat
heat_ends "and ends right"
finish
