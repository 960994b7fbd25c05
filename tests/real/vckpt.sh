# shellcheck shell=bash
# vckpt.sh: what the tests of vckpt proper share, on top of lib.sh.  VCKPT_BUILD is the build tree.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${VCKPT_BUILD:=$(cd "$here/../.." && pwd)/build}"
export VCKPT_BUILD
export VCKPT_TEST_IMAGE=${VCKPT_TEST_IMAGE:-$VCKPT_BUILD/image}
export VCKPT_TEST_HEAT2D=${VCKPT_TEST_HEAT2D:-$VCKPT_BUILD/examples/heat2d}
export VCKPT_TEST_CACHE=${VCKPT_TEST_CACHE:-$VCKPT_BUILD/lab-cache}
export LAB_PROGRAMS=$VCKPT_BUILD/tests/lab
# shellcheck source=tests/real/lib.sh
. "$here/lib.sh"
export VCKPT_STORE=$LAB_DIR/store
export VCKPT_CONFIG=/dev/null # the machine's own is not asked

# vckpt ARGUMENTS: in host h1, with the build tree's programs.
vckpt()
{
	"$lab" exec h1 "$VCKPT_BUILD/run" vckpt "$@"
}

# The job of these tests. It goes on until heat_ends asks it to stop: how much it does meanwhile is the machine's.
# With heat_pause=MS all ranks sleep so long after each step: for tests that need a job that goes on, not one that
# computes, and leaves the processors to them.
heat_pause=
heat_args()
{
	echo "--grid 256 --steps 100000000 ${heat_pause:+--pause $heat_pause }--report $(heat_steps 40)"
}

# heat_steps N: so many, or fewer if the job sleeps: ranks that are held cannot do two.
heat_steps()
{
	echo $(($1 / (${heat_pause:+15 + }1)))
}

# heat_start [N_GUESTS]: lab, cluster "heat" of n1..nN, and the job with two ranks in each guest.
heat_start()
{
	local n=${1:-2} hosts= i
	shift $(($# > 0))
	lab_start "$n" 1 "$@"
	expect_ok "domains are adopted" vckpt adopt heat "${guests[@]}"
	for ((i = 1; i <= n; i++)); do
		hosts+=${hosts:+,}n$i:2
	done
	job_start "--host $hosts heat2d $(heat_args)"
	job_wait_step "$(heat_steps 80)" || give_up "the job does not start: $(job_output)"
}

# heat_ends NAME: the job goes on, comes to its end when asked to, and gives the answer that an uninterrupted job of
# as many steps gives on this machine: heat2d is the same to the bit wherever it runs.
heat_ends()
{
	local steps
	job_wait_step $(($(job_progress) + $(heat_steps 40))) 60 && "$lab" run n1 'killall -USR1 heat2d' && wait_until 60 job_ended
	if [ "$(job_status)" = "ended 0" ]; then
		steps=$(job_output | sed -n 's/^\([0-9]*\) steps$/\1/p')
		expect_eq "$1 after $steps steps" "$(job_answer)" "$(reference_answer 1 "--grid 256 --steps $steps")"
	else
		fail "$1" "the job did not end: $(job_status); $(job_output | tail -n 5)"
	fi
}

# loose_is_told COMMAND...: what is said of a job, started so, some of whose ranks run without the component: by
# doctor, by the checkpoint that must hold it and does not, and by the record of one that may go on all the same.
loose_is_told()
{
	local said status record
	"$lab" run n1 "job start loose $*" || give_up "the job without the component does not start"
	wait_until 60 loose_runs ||
		give_up "the job without the component does not run: $("$lab" run n1 'job output loose')"
	said=$(vckpt doctor heat)
	expect_eq "doctor finds something bad" $? 7
	expect_match "doctor names the process that runs without the component" "$said" \
		'^bad +n2 pid [0-9]+ \(heat2d\): .*without vckpt.s component'
	expect_match "and tells the cure" "$said" 'cure: .*ompi_info --param hook vckpt'
	said=$(vckpt checkpoint heat --gate socket --drain require 2>&1)
	status=$?
	expect_ok "gate socket, which must hold it, refuses" test $status -ne 0
	expect_match "with a sentence that names it" "$said" 'pid [0-9]+ \(heat2d\) runs MPI without'
	expect_ok "and nobody is held" guests_free
	expect_ok "the same, cut all the same" vckpt checkpoint heat --gate socket --drain prefer
	record=$(vckpt show heat --json)
	expect_eq "is not called quiet" "$(jq .record.quiet <<<"$record")" false
	expect_match "and its record says why" "$(jq -r '.record.notes[]' <<<"$record")" \
		'n2.*pid [0-9]+ \(heat2d\) runs MPI without'
	expect_ok "gate nic-plug holds it" vckpt checkpoint heat --gate nic-plug --drain require
	"$lab" run n1 'job kill loose'
}

loose_runs()
{
	"$lab" run n1 "grep -q '^step [1-9]' /tmp/jobs/loose.out"
}

# heat_moves NAME [STEPS]: the job gets further by so many steps.
heat_moves()
{
	local now
	now=$(job_progress)
	expect_ok "$1" job_wait_step $((now + $(heat_steps "${2:-80}"))) 60
}

# kill_guest N...: QEMU gets SIGKILL, as a host's failure would.
kill_guest()
{
	local g
	for g in "$@"; do
		"$lab" exec h1 sh -c "kill -KILL \$(cat /run/libvirt/qemu/$g.pid)" 2>/dev/null
	done
	for g in "$@"; do
		wait_until 20 guest_is "$g" "shut off" || give_up "$g does not die"
	done
}

guest_is()
{
	[ "$("$lab" exec h1 virsh domstate "$1" 2>/dev/null | head -n 1)" = "$2" ]
}

# Nothing that vckpt does may leave a guest paused, held or frozen: all run, and answer.
guests_free()
{
	local g
	for g in "${guests[@]}"; do
		guest_is "$g" running || return 1
		LAB_TIMEOUT=15 "$lab" run "$g" 'gsh n1 true && gsh n2 true' >/dev/null 2>&1 || return 1
	done
}

epochs()
{
	vckpt ls heat --json 2>/dev/null | jq -r '.[].epoch' | tr '\n' ' '
}

# vckpt_stopped PHASE COMMAND...: starts a vckpt command in the background that stops itself (SIGSTOP) when
# the named phase begins, and waits until it has.  $vckpt_pid is its process, $vckpt_job the shell's.  It is not
# the child of nsenter itself, which stops when its child does and would have to be woken, too.
vckpt_stopped()
{
	local phase=$1
	shift
	rm -f "$TEST_DIR/vckpt.pid"
	VCKPT_FAULT_STOP="$phase" "$lab" exec h1 "$VCKPT_BUILD/run" sh -c \
		'vckpt "$@" & echo $! >"$0"; wait $!' "$TEST_DIR/vckpt.pid" "$@" \
		>"$TEST_DIR/vckpt.out" 2>"$TEST_DIR/vckpt.log" &
	vckpt_job=$!
	wait_until 40 vckpt_is_stopped || { fail "vckpt stops at $phase" "$(cat "$TEST_DIR/vckpt.log")"; return 1; }
}

# Process numbers in a host are those of its own namespace.
vckpt_is_stopped()
{
	[ -s "$TEST_DIR/vckpt.pid" ] || return 1
	vckpt_pid=$(cat "$TEST_DIR/vckpt.pid")
	"$lab" exec h1 sh -c "grep -q '^State:.T' /proc/$vckpt_pid/status"
}

vckpt_signal()
{
	"$lab" exec h1 kill "-$1" "$vckpt_pid"
}

# It must be there.
vckptd_kill()
{
	"$lab" exec h1 pkill -KILL -x vckptd || fail "vckptd is there to be killed"
}

# vckptd_stopping TEXT COMMAND...: a vckpt command in the background with a fresh vckptd that stops itself
# (SIGSTOP) when it logs a line with this text; waits until it has.  $vckpt_job as above.
vckptd_stopping()
{
	local text=$1
	shift
	"$lab" exec h1 pkill -KILL -x vckptd
	VCKPT_FAULT_STOP_HOST="$text" "$lab" exec h1 "$VCKPT_BUILD/run" vckpt "$@" \
		>"$TEST_DIR/vckpt.out" 2>"$TEST_DIR/vckpt.log" &
	vckpt_job=$!
	wait_until 40 vckptd_is_stopped || { fail "vckptd stops at '$text'" "$(cat "$TEST_DIR/vckpt.log")"; return 1; }
}

vckptd_is_stopped()
{
	"$lab" exec h1 sh -c 'p=$(pgrep -x vckptd) && grep -q "^State:.T" /proc/$p/status' 2>/dev/null
}
