#!/bin/bash
# Open MPI 5.0, in guests of Debian 13: the main loop with both gates and both kinds of transport, by mpirun and by
# prterun, what came with it (sessions), and what is said of a job without the
# component.  The image is made by `./quickstart check`, or here.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
# shellcheck source=tests/mpi/guests.sh
. "$(dirname "$0")/../mpi/guests.sh"

VCKPT_TEST_IMAGE=$VCKPT_BUILD/image-trixie
[ -e "$VCKPT_TEST_IMAGE/initrd" ] || "$top_src/guest/build" -q --suite trixie \
	--tree "$VCKPT_BUILD/suite-trixie" --out "$VCKPT_TEST_IMAGE" || give_up "no guest image of trixie"

# again NAME: the newest checkpoint of a job that goes on, both guests killed, the restart, the right answer.
again()
{
	heat_moves "$1 goes on after its checkpoint"
	kill_guest n1 n2
	expect_ok "restart of $1" vckpt restart heat
	heat_ends "$1 ends right after the restart"
}

# held NAME GATE: a checkpoint for which this gate must be quiet, and nobody of the job escapes it.
held()
{
	expect_ok "checkpoint of $1 with gate $2" vckpt checkpoint heat --gate "$2" --drain require
	expect_eq "its record names the gate" "$(vckpt show heat --json | jq -r .record.gate)" "$2"
}

heat_start 2
expect_match "the guests run Open MPI 5.0" "$("$lab" run n1 'ompi_info --version')" ' v5\.0\.'
expect_match "which knows the component" \
	"$("$lab" run n1 'ompi_info --param hook vckpt --level 9')" 'hook_vckpt_gate.*socket'
held "a job by mpirun over ob1" nic-plug
held "the job over ob1, again," socket
expect_eq "all four ranks were held" \
	"$(vckpt show heat --json | jq '[.record.guests[].prepare.processes[] | select(.gated)] | length')" 4
expect_match "a rank away from prterun knows where that is" "$(vckpt doctor heat)" \
	'^ok +n2 prterun-n1.*tcp://10\.99\.0\.1.*: the launcher .* is in the cluster'
again "the job over ob1"

"$lab" run n1 "job start mpi prterun --host n1:1,n2:1 --mca pml ucx heat2d $(heat_args)"
job_wait_step 40 || give_up "the job over ucx does not start: $(job_output)"
held "a job by prterun over ucx" nic-plug
held "the job over ucx, again," socket
again "the job over ucx"

# tests/mpi/campaign --suite trixie has more of these.
case_mpi=5 case_cluster=heat
if case_run sessions nic-plug 1; then
	pass "sessions under nic-plug: killed and restarted, $rounds rounds"
else
	fail "sessions under nic-plug" "$why"
	case_clear
fi
expect_eq "and it was quiet" $loud 0
case_mca='--mca pml ucx'
case_start threads || give_up "threads does not start over ucx: $(job_output)"
expect_match "doctor tells of threads over ucx" "$(vckpt doctor heat)" '^warn.* 2 ranks may send from several threads over UCX'
case_stop
expect_ok "and they end right" job_wait_end 60

"$lab" run n2 'mv /usr/lib/x86_64-linux-gnu/openmpi/lib/openmpi40/mca_hook_vckpt.so /tmp'
loose_is_told "mpirun --host n1:1,n2:1 heat2d --grid 256 --steps 100000 --report 20"
finish
