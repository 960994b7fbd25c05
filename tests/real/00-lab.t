#!/bin/bash
# The lab itself: two guests under a private libvirtd, an MPI job across both, the right answer,
# and nothing left behind, neither by an orderly end nor when the owner is killed.
# shellcheck source=tests/real/lib.sh
. "$(dirname "$0")/lib.sh"

# What a lab could leave behind: interfaces, mounts, processes with its folder in their command.
machine_state()
{
	ip -o link | sed 's/: <.*//'
	cat /proc/mounts
	pgrep -fa "$LAB_DIR" | grep -v pgrep
}

steps=600
args="--grid 128 --steps $steps --report 50 --ballast 4"

machine_state >"$TEST_DIR/before"
lab_start 2
expect_eq "a guest knows its name" "$("$lab" run n2 hostname)" n2
expect_fail "a command's failure is seen" "$lab" run n1 'exit 3'
expect_ok "guests reach each other" "$lab" run n1 'gsh n2 true'
head -c 300000 /dev/urandom >"$TEST_DIR/random"
"$lab" put n1 "$TEST_DIR/random" /tmp/random
"$lab" get n1 /tmp/random >"$TEST_DIR/back"
expect_ok "files go in and come back" cmp "$TEST_DIR/random" "$TEST_DIR/back"
expect_ok "the NIC gate's module is loaded" "$lab" run n1 'grep -q ^sch_plug /proc/modules'
expect_ok "the agent's port is there" "$lab" run n1 'test -e /dev/virtio-ports/org.vckpt.0'

job_start --host n1,n2 heat2d "$args"
expect_ok "the job makes progress" job_wait_step 100
# What the tests of restarts rest on: the job needs nobody outside.
expect_ok "libvirtd may be killed meanwhile" "$lab" libvirtd h1 kill
expect_ok "and started again" "$lab" libvirtd h1 start
expect_match "which finds its guests" "$("$lab" exec h1 virsh -q list)" 'n1 +running'
expect_ok "the job ends well" job_wait_end
reference=$(reference_answer 2 "$args")
expect_match "there is a reference" "$reference" '^[0-9a-f]{16}$'
expect_eq "the answer is that of a run on the machine" "$(job_answer)" "$reference"
expect_eq "and of another number of ranks" "$(reference_answer 3 "$args")" "$reference"

expect_ok "the lab ends" "$lab" down
machine_state >"$TEST_DIR/after"
expect_ok "nothing is left" diff "$TEST_DIR/before" "$TEST_DIR/after"

# An owner that is killed.
# shellcheck disable=SC2016 # for the other shell
bash -c '"$0" up --owner $$ && touch "$1" && exec tail -f /dev/null --pid $PPID' \
	"$lab" "$TEST_DIR/up" >"$TEST_DIR/owner.log" 2>&1 &
owner=$!
wait_until 30 test -e "$TEST_DIR/up" || give_up "no second lab"
"$lab" define h1 n1 1
"$lab" boot n1 || give_up "the guest does not boot again"
kill -KILL $owner
expect_ok "an owner's death ends the lab" wait_until 20 test ! -e "$LAB_DIR"
machine_state >"$TEST_DIR/after"
expect_ok "and nothing is left" diff "$TEST_DIR/before" "$TEST_DIR/after"
finish
