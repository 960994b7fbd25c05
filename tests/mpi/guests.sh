# shellcheck shell=bash
# guests.sh: cases of mpi-cases in two real guests, under checkpoints, killed and restarted.  On top of
# tests/real/vckpt.sh; for tests/real/16-cases.t, tests/mpi/campaign and judges.sh.
# shellcheck disable=SC2154 # what lib.sh sets

# More of mpirun's options for all cases, MiB under way in the case inflight, the capture engine (vckpt's choice), and the
# cluster they run in: guests that were restored as those of one cluster are no other's.
case_mca='' case_mib=24 case_engine='' case_cluster=cases

# cases_up [MEMORY]: lab and cluster.  $case_mpi becomes the guests' first number of Open MPI.
cases_up()
{
	lab_start 2 1 --memory "${1:-256}"
	vckpt adopt "$case_cluster" n1 n2 >/dev/null 2>"$TEST_DIR/vckpt.log" || give_up "adopt: $(cat "$TEST_DIR/vckpt.log")"
	case_mpi=$("$lab" run n1 'ompi_info --version' | sed -n 's/^Open MPI v\([0-9]*\)\..*/\1/p')
}

# case_command NAME SECONDS: what mpirun gets; half of the ranks in each guest.
case_command()
{
	local mca='' ranks=4
	case $1/$case_mpi in
	rma*/4) mca='--mca osc pt2pt' ;;
	huge/*) ranks=2 ;; # more would only poll
	esac
	echo "--host n1:16,n2:16 --map-by node -np $ranks $case_mca $mca mpi-cases $1 $2 $case_mib"
}

# Far longer than any test: a case ends when it is told to.
case_time=3000

# case_start NAME: it has made its first round.
case_start()
{
	if [ "$1" = init-finalize ]; then
		"$lab" run n1 'rm -f /tmp/jobs/stop'
		"$lab" run n1 "job start mpi 'n=0
			while [ ! -e /tmp/jobs/stop ]; do
				mpirun $(case_command init-finalize 0) >/dev/null || exit
				n=\$((n + 1)); echo step \$n of a case
			done; echo case init-finalize: \$n rounds, right'"
	else
		job_start "$(case_command "$1" $case_time)"
	fi
	job_wait_step 1 90
}

# One rank is enough, all agree on the end; the one that lives longest, since the case spawn starts others.
case_stop()
{
	# shellcheck disable=SC2016 # for the guest's shell
	"$lab" run n1 ': >/tmp/jobs/stop
		kill -USR1 $(pidof mpi-cases | tr " " "\n" | sort -n | head -n 1)' >/dev/null 2>&1
}

# case_where: where the processes of a case that failed wait, and for what, for whoever reads why.
case_where()
{
	local g
	# shellcheck disable=SC2016 # for the guest's shell
	for g in n1 n2; do
		LAB_TIMEOUT=20 "$lab" run $g 'for e in $(grep -l OMPI_COMM_WORLD_RANK /proc/[0-9]*/environ); do
			p=${e%/environ}
			echo "${p#/proc/} $(cat $p/comm), $(grep State: $p/status), in $(cat $p/wchan):" $(cat $p/stack)
		done
		sed "s/^/lock /" /proc/locks
		grep -v "00000000:00000000 0[0-9]:0" /proc/net/tcp | sed "s/^/tcp /"
		mkdir -p /run/debug && mount -t debugfs none /run/debug
		sed "s/^/rpc /" /run/debug/sunrpc/rpc_clnt/*/tasks
		dmesg | tail -n 3' 2>/dev/null | sed "s/^/# $g /" >&2
	done
}

# What a job that failed left behind.
case_clear()
{
	local g
	case_where
	# shellcheck disable=SC2016 # for the guest's shell
	for g in n1 n2; do
		"$lab" run $g 'kill -KILL $(pidof mpirun orterun orted prterun prte prted mpi-cases)' >/dev/null 2>&1
		"$lab" run $g 'rm -rf /tmp/ompi.* /tmp/prte.* /tmp/pmix* /tmp/mpi-cases.* /dev/shm/*' >/dev/null 2>&1
	done
}

# case_checkpoint GATE: notes in $taken, $loud (not quiet, though asked to be), $quiet_worst; its record in $record.
case_checkpoint()
{
	local quiet
	if ! record=$(vckpt checkpoint "$case_cluster" --gate "$1" ${case_engine:+--engine "$case_engine"} --drain prefer \
		--json 2>"$TEST_DIR/vckpt.log"); then
		why="checkpoint: $(tail -n 2 "$TEST_DIR/vckpt.log")"
		return 1
	fi
	taken=$((taken + 1))
	[ "$(jq -r .quiet <<<"$record")" = true ] || loud=$((loud + 1))
	quiet=$(jq -r '.phases_ms.quiet | floor' <<<"$record")
	[ "$quiet" -le "$quiet_worst" ] || quiet_worst=$quiet
}

# Whether it goes on, or came to its end meanwhile.
case_moves()
{
	local at
	at=$(job_progress)
	wait_until 60 job_reached $((at + 1)) && return
	why="it does not go on after $at rounds"
	return 1
}

# case_run NAME GATE CHECKPOINTS: so many checkpoints, both QEMUs killed after half of them and restarted, then the
# rest and the end.  True if all came right; else $why says what did not.  $remark: what the case has to say besides.
case_run()
{
	local name=$1 gate=$2 n=$3 i
	taken=0 loud=0 quiet_worst=0 rounds=- remark='' why='' restarted=no
	case_start "$name" || { why="it does not start: $(job_output | tail -n 3)"; return 1; }
	for ((i = 1; i <= n; i++)); do
		case_checkpoint "$gate" || return
		if [ $i -eq $(((n + 1) / 2)) ]; then
			kill_guest n1 n2
			vckpt restart "$case_cluster" >/dev/null 2>"$TEST_DIR/vckpt.log" ||
				{ why="restart: $(tail -n 2 "$TEST_DIR/vckpt.log")"; return 1; }
			restarted=yes
		fi
		case_moves || return
	done
	[ "$name" = init-finalize ] || ! job_ended || { why="it ended by itself: $(job_output | tail -n 3)"; return 1; }
	case_stop
	wait_until 90 job_ended || { why="it does not end: $(job_output | tail -n 1)"; return 1; }
	remark=$(job_output | sed -n 's/^datagrams //p')
	rounds=$(job_output | sed -n 's/^case .*: \([0-9]*\) rounds, right.*$/\1/p')
	[ "$(job_status)" = "ended 0" ] && [ -n "$rounds" ] && guests_free && return
	why="$(job_status): $(job_output | grep -v '^step' | tail -n 3)"
	return 1
}
