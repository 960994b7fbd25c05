#!/bin/bash
# The store's disk is full in the middle of a capture: the epoch fails in one clear sentence, the guests run
# on, nothing of it stays, and the epochs before are whole.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_pause=100
heat_start 2
small=$LAB_DIR/small
mkdir -p "$small"
"$lab" exec h1 mount -t tmpfs -o size=24m,mode=700 small "$small"
export VCKPT_STORE=$small/store
expect_ok "a store on a small disk" vckpt adopt heat n1 n2
said=$(vckpt checkpoint heat --codec none 2>&1)
expect_eq "the checkpoint fails with the system's code" $? 9
expect_match "and says why" "$said" 'No space left on device'
expect_ok "the guests run and answer" wait_until 20 guests_free
heat_moves "the job goes on"
expect_eq "there is no epoch" "$(epochs)" ""
"$lab" exec h1 mount -o remount,size=600m "$small"
expect_ok "with room again a checkpoint works" vckpt checkpoint heat
used=$("$lab" exec h1 du -sk "$small" | cut -f1)
"$lab" exec h1 mount -o remount,size=$((used + 2000))k "$small"
vckpt checkpoint heat --codec none --whole >/dev/null 2>&1 && fail "a full disk is noticed again"
expect_ok "the guests run and answer again" wait_until 20 guests_free
expect_eq "with some room ls says nothing of it" "$(vckpt ls heat --json | jq -c '.[-1].wanting')" "[]"
"$lab" exec h1 sh -c "dd if=/dev/zero of='$small/litter' bs=64k 2>/dev/null"
said=$(vckpt ls heat)
expect_match "without any it says so" "$said" "$small/store: full: "
expect_match "and the cure" "$said" 'cure: make room there: .vckpt prune'
said=$(vckpt doctor heat)
expect_eq "doctor finds it bad" $? 7
expect_match "and names the store" "$said" "bad .*$small/store.*full"
"$lab" exec h1 rm "$small/litter"
"$lab" exec h1 mount -o remount,ro "$small"
expect_eq "one that is read-only is told, too" "$(vckpt ls heat --json | jq -r '.[-1].wanting[].state')" "read-only"
"$lab" exec h1 mount -o remount,rw "$small"
kill_guest n1 n2
expect_ok "the epoch before restores" vckpt restart heat
heat_ends "and ends right"
finish
