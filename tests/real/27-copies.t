#!/bin/bash
# Copies at a second place: what is lost in the store comes from there, first one epoch's files, then the store as a
# whole, which is deleted while a checkpoint streams into it. The job ends with the answer of an uninterrupted run.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
place=$TEST_DIR/place
heat_pause=5

copies()
{
	vckpt ls heat --json | jq -c '[.[].copies | map(.state)]'
}

heat_start 2
expect_ok "a checkpoint" vckpt checkpoint heat
expect_match "is copied" "$(vckpt flush heat "$place")" "$place: whole, .* written"
expect_eq "which ls knows" "$(copies)" '[["whole","whole"]]'
rm -r "$VCKPT_STORE"/clusters/heat/data/000001
expect_eq "its files are lost in the store" "$(copies)" '[["partly","whole"]]'
said=$(vckpt restart heat --destroy)
expect_match "a restart reads the copy and says so" "$said" "read from $place, since .* (gone|does not exist)"
heat_moves "the job goes on"
expect_match "the next checkpoint makes its own copy" "$(vckpt checkpoint heat --copies 2)" '2 places have it'
vckpt_stopped progress checkpoint heat && {
	rm -r "$VCKPT_STORE"
	vckpt_signal CONT
	wait "$vckpt_job"
	expect_ok "a checkpoint into a store that is deleted fails" test $? -ne 0
}
wait_until 30 guests_free || fail "the guests run, all the same"
expect_match "without the store nothing is guessed" "$(vckpt restart heat --destroy 2>&1)" 'is no vckpt store'
export VCKPT_STORE=$place
expect_match "its copy is no store yet" "$(vckpt restart heat --destroy 2>&1)" 'vckpt lead'
expect_match "until a person says so" "$(vckpt lead heat)" "$place leads; newest checkpoint 2, incarnation 1"
expect_match "then no epoch that had a copy is lost" "$(vckpt restart heat --destroy)" 'runs again from epoch 2 .incarnation 2'
heat_ends "the job that was restored from copies twice"
finish
