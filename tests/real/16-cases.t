#!/bin/bash
# MPI programs of several kinds, under real checkpoints by each gate, killed in the middle and restarted; and a
# rank killed while its guest is held. Beside the first two runs another job, through all their restarts. All cases:
# tests/mpi/campaign.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
# shellcheck source=tests/mpi/guests.sh
. "$(dirname "$0")/../mpi/guests.sh"

beside_runs()
{
	grep -q '^step' <<<"$("$lab" run n1 'job output beside')"
}

cases_up
"$lab" run n1 'job start beside mpirun --mca osc pt2pt --host n1:1,n2:1 heat2d --grid 64 --pause 100 --steps 100000000 --report 10'
expect_ok "the job beside runs" wait_until 30 beside_runs
expect_match "doctor tells of osc/pt2pt" "$(vckpt doctor cases)" '^note.* 1 ranks may use Open MPI.s osc/pt2pt'
for c in "wildcards nic-plug" "rendezvous-unexpected socket"; do
	# shellcheck disable=SC2086 # words wanted
	set -- $c
	if case_run "$1" "$2" 2; then
		pass "$1 under $2: $taken checkpoints, killed and restarted, $rounds rounds"
	else
		fail "$1 under $2" "$why"
		case_clear
	fi
	# How soon is the machine's affair: where many others compute a hold may wait in vain (tests/mpi/campaign counts them).
	expect_ok "$1 under $2 was quiet" test $loud -lt $taken
done

beside_ended()
{
	[ "$("$lab" run n1 'job status beside' 2>/dev/null)" = "ended 0" ]
}

expect_eq "the records know both jobs" \
	"$(jq '[.guests[].prepare.processes[].job] | unique | length' <<<"$record")" 2
"$lab" run n1 'killall -USR1 heat2d'
expect_ok "the job beside them ends when asked to" wait_until 60 beside_ended
said=$("$lab" run n1 'job output beside')
steps=$(sed -n 's/^\([0-9]*\) steps$/\1/p' <<<"$said")
expect_eq "and right, two restores deep, after $steps steps" "$(sed -n 's/^checksum //p' <<<"$said")" \
	"$(reference_answer 1 "--grid 64 --steps $steps")"

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
