#!/bin/bash
# MPI programs of several kinds, under real checkpoints by each gate, killed in the middle and restarted; and a
# rank killed while its guest is held.  All cases: tests/mpi/campaign.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
# shellcheck source=tests/mpi/guests.sh
. "$(dirname "$0")/../mpi/guests.sh"

cases_up
for c in "wildcards nic-plug" "rendezvous-unexpected socket" "coll-nonblocking nic-plug" "blocked socket"; do
	# shellcheck disable=SC2086 # words wanted
	set -- $c
	if case_run "$1" "$2" 2; then
		pass "$1 under $2: $taken checkpoints, killed and restarted, $rounds rounds"
	else
		fail "$1 under $2" "$why"
		case_clear
	fi
	expect_eq "$1 under $2 was quiet" $loud 0
done

case_start coll || give_up "coll does not start"
vckpt_stopped quiet checkpoint cases --gate socket
# shellcheck disable=SC2016 # for the guest's shell
expect_ok "a rank is killed while held" "$lab" run n2 'set -- $(pidof mpi-cases) && kill -KILL $1'
vckpt_signal CONT
wait $vckpt_job
expect_ok "the job whose rank was killed while held ends" wait_until 60 job_ended
expect_match "it says so" "$(job_status) $(job_output | tail -n 5)" 'ended [1-9]'
expect_ok "and nobody is held" guests_free
finish
