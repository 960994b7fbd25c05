#!/bin/bash
# Copies behind commits: vckptd makes them by itself while the job goes on, says what keeps it, goes on when that is
# over, also after it was killed; and the job comes back from such a copy.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
place=$TEST_DIR/place
heat_pause=20

# state N: of epoch N at the place, as ls knows it.
state()
{
	vckpt ls heat --json | jq -r ".[] | select(.epoch == $1) | .copies[1].state"
}

state_is()
{
	[ "$(state "$1")" = "$2" ]
}

behind()
{
	vckpt metrics heat --no-hosts | sed -n 's/^vckpt_place_behind_seconds{.*} //p'
}

has_failed()
{
	vckpt ls heat --json | jq -e ".[-1].copies[1].error" >/dev/null
}

nobody_copies()
{
	! "$lab" exec h1 pgrep -x vckptd-copy >/dev/null
}

heat_start 2
expect_ok "a checkpoint" vckpt checkpoint heat
expect_match "is copied to a place that is marked" "$(vckpt flush heat "$place" --after-commit)" "$place: whole"
expect_ok "the next checkpoint" vckpt checkpoint heat
expect_ok "is copied by vckptd" wait_until 60 state_is 2 whole
expect_eq "and the place is not behind" "$(behind)" 0
expect_match "as status says" "$(vckpt status heat)" "$place: has all"
heat_moves "the job goes on"

mv "$place" "$place.away"
expect_ok "a checkpoint does not need the place" vckpt checkpoint heat
expect_ok "which cannot be reached, as ls says" wait_until 60 has_failed
expect_match "and why" "$(vckpt ls heat)" "$place: unreachable: .*$place"
expect_ok "and the metrics say since when" test "$(behind)" != 0
vckptd_kill
mv "$place.away" "$place"
expect_match "it is back, and vckptd was killed" "$(state 3)" '^(failed|pending|copying|whole)$'
vckpt status heat >/dev/null
expect_ok "the next vckptd makes the copy" wait_until 60 state_is 3 whole

# copier_caught: stops the process that copies when there is one.
copier_caught()
{
	"$lab" exec h1 timeout 40 sh -c 'until p=$(pgrep -x vckptd-copy) && kill -STOP $p 2>/dev/null; do sleep 0.01; done'
}

# It is killed in the middle of a copy: the next one does what it left, and so does the copy of the next commit.
n=3
for try in 1 2 3 4 5; do
	copier_caught &
	catcher=$!
	expect_ok "a checkpoint while the copier is to be killed, $try" vckpt checkpoint heat --whole
	n=$((n + 1))
	wait $catcher || fail "there is a process that copies"
	state_is $n whole || break # else it was too late
	"$lab" exec h1 pkill -CONT -x vckptd-copy
done
expect_match "it is stopped before the copy is whole" "$(state $n)" '^(pending|copying)$'
expect_ok "and killed" "$lab" exec h1 pkill -KILL -x vckptd-copy
heat_moves "the job goes on"
expect_ok "another makes the copy" wait_until 60 state_is $n whole
expect_ok "a checkpoint afterwards" vckpt checkpoint heat
n=$((n + 1))
expect_ok "has its copy" wait_until 60 state_is $n whole

# One waits for the other.
expect_ok "a checkpoint while another copies by hand" vckpt checkpoint heat --copies 2
n=$((n + 1))
state_is $n whole && pass "has its copy when it is done" || fail "has its copy when it is done" "$(state $n)"
expect_ok "nobody copies any more" wait_until 60 nobody_copies
expect_ok "what is at the place is whole" vckpt check heat --read-data --store "$place"
rm -r "$VCKPT_STORE"/clusters/heat/data
said=$(vckpt restart heat --destroy)
expect_match "and is restarted from" "$said" "read from $place"
heat_ends "the job that was restored from such a copy"
finish
