# shellcheck shell=bash
# lib.sh: helpers of the tests with real parts. A test is a bash program that sources this file,
# prints "ok NAME" or "not ok NAME" for each thing it tested, and ends by calling finish.
#
# All lies in one scratch folder (TEST_DIR), which is removed at the end, as is everything that
# runs, also when the test is killed: the lab has the test as its owner. Failures print the logs.
#
# From the environment, each with a default that builds what is missing:
#   VCKPT_TEST_IMAGE   folder with a guest image that has heat2d in it
#   VCKPT_TEST_HEAT2D  examples/heat2d, built for this machine
#   VCKPT_TEST_CACHE   folder for what libvirt finds out about QEMU, kept between tests
#   VCKPT_TEST_PATIENCE  factor on all deadlines, for slow machines (default 1)
set -uo pipefail

real_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top_src=$(cd "$real_dir/../.." && pwd)
lab=$top_src/tests/lab/lab
test_name=$(basename "$0" .t)
test_begin=$SECONDS
passed=0 failed=0 guests=()

TEST_DIR=$(mktemp -d "${TMPDIR:-/tmp}/vckpt-$test_name.XXXXXX") || exit 1
export LAB_DIR=$TEST_DIR/lab
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# ---- results ----

pass()
{
	echo "ok $1 # $((SECONDS - test_begin)) s"
	passed=$((passed + 1))
}

# fail NAME [WHY]: with what is known of the state of things.
fail()
{
	echo "not ok $1 # $((SECONDS - test_begin)) s"
	[ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/# /'
	failed=$((failed + 1))
	dump_logs
}

# give_up WHY: what follows makes no sense without what failed.
give_up()
{
	fail "$test_name" "$1"
	finish
}

dump_logs()
{
	local f
	for f in "$LAB_DIR"/guests/*/console.log "$LAB_DIR"/hosts/*/log/libvirtd.log \
		"$LAB_DIR"/hosts/*/log/qemu/*.log "$TEST_DIR"/*.log; do
		[ -s "$f" ] || continue
		echo "# ---- last lines of ${f#"$TEST_DIR"/}"
		tail -n 15 "$f" | tr -d '\r' | sed 's/^/#   /'
	done
	[ ${#guests[@]} -eq 0 ] || {
		echo "# ---- jobs"
		LAB_TIMEOUT=5 "$lab" run "${guests[0]}" 'tail -n 5 /tmp/jobs/*' 2>&1 | sed 's/^/#   /'
	}
}

# expect_eq NAME GOT WANTED
expect_eq()
{
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		fail "$1" "got '$2', expected '$3'"
	fi
}

# expect_ok NAME COMMAND...
expect_ok()
{
	local name=$1 out status=0
	shift
	out=$("$@" 2>&1) || status=$?
	if [ $status -eq 0 ]; then
		pass "$name"
	else
		fail "$name" "'$*' ended with status $status: $out"
	fi
}

# expect_fail NAME COMMAND...: it must fail.
expect_fail()
{
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		fail "$name" "'$*' succeeded: $out"
	else
		pass "$name"
	fi
}

# expect_match NAME TEXT PATTERN: an extended regular expression somewhere in the text.
expect_match()
{
	if grep -Eq -- "$3" <<<"$2"; then
		pass "$1"
	else
		fail "$1" "no '$3' in: $2"
	fi
}

# The final status; every test ends here. A test that tested nothing failed.
finish()
{
	echo "# $test_name: $passed passed, $failed failed, $((SECONDS - test_begin)) s"
	[ $failed -eq 0 ] && [ $passed -gt 0 ]
	exit
}

cleanup()
{
	"$lab" down "$LAB_DIR"
	rm -rf "$TEST_DIR"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# ---- waiting ----

# wait_until SECONDS COMMAND...: polls until it succeeds; fails at the deadline.
wait_until()
{
	local end=$((SECONDS + $1 * ${VCKPT_TEST_PATIENCE:-1}))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# ---- the lab ----

# heat2d for this machine; its path in $heat2d.
heat2d_ready()
{
	heat2d=${VCKPT_TEST_HEAT2D:-$TEST_DIR/heat2d}
	[ -x "$heat2d" ] || mpicc -std=gnu17 -O2 -o "$heat2d" "$top_src/examples/heat2d.c" ||
		give_up "heat2d does not build"
}

image_ready()
{
	heat2d_ready
	LAB_IMAGE=${VCKPT_TEST_IMAGE:-$TEST_DIR/image}
	export LAB_IMAGE
	[ -e "$LAB_IMAGE/initrd" ] || "$top_src/guest/build" -q --out "$LAB_IMAGE" --add "$heat2d" ||
		give_up "the guest image does not build"
}

# lab_defined N_GUESTS [HOSTS [define's options]]: guests n1..nN, spread over the hosts, shut off.
lab_defined()
{
	local n=$1 hosts=${2:-1} i
	shift $(($# > 1 ? 2 : 1))
	image_ready
	"$lab" up --owner $$ --scratch "$TEST_DIR" --hosts "$hosts" \
		${VCKPT_TEST_CACHE:+--cache "$VCKPT_TEST_CACHE"} || give_up "no lab"
	guests=()
	for ((i = 1; i <= n; i++)); do
		"$lab" define "h$(((i - 1) % hosts + 1))" "n$i" "$i" "$@" || give_up "n$i undefined"
		guests+=("n$i")
	done
}

# lab_start, as lab_defined: and running.
lab_start()
{
	lab_defined "$@"
	"$lab" boot "${guests[@]}" || give_up "the guests do not boot"
}

# ---- the job: mpirun in the first guest, detached; only its files are looked at ----

# job_start 'mpirun arguments'
job_start()
{
	"$lab" run "${guests[0]}" "job start mpi mpirun $*" || give_up "mpirun does not start"
}

# All that the job printed.
job_output()
{
	LAB_TIMEOUT=20 "$lab" run "${guests[0]}" 'job output mpi'
}

# The last step reported; 0 at the beginning.
job_progress()
{
	local step
	step=$(LAB_TIMEOUT=20 "$lab" run "${guests[0]}" \
		'sed -n "s/^step \([0-9]*\) .*/\1/p" /tmp/jobs/mpi.out | tail -n 1' 2>/dev/null)
	echo "${step:-0}"
}

# "running" or "ended STATUS".
job_status()
{
	LAB_TIMEOUT=20 "$lab" run "${guests[0]}" 'job status mpi' 2>/dev/null
}

job_ended()
{
	[[ $(job_status) == ended* ]]
}

# job_reached S: true from step S on, and when the job ended.
job_reached()
{
	[ "$(job_progress)" -ge "$1" ] || job_ended
}

# job_wait_step S [SECONDS]: until the job reported step S; fails if it ends or stalls before.
job_wait_step()
{
	wait_until "${2:-90}" job_reached "$1" && [ "$(job_progress)" -ge "$1" ]
}

# job_wait_end [SECONDS]: until the job is over; fails unless it ended with status 0.
job_wait_end()
{
	wait_until "${1:-120}" job_ended && [ "$(job_status)" = "ended 0" ]
}

# The checksum that the job printed, nothing if it did not.
job_answer()
{
	job_output | sed -n 's/^checksum //p'
}

# reference_answer RANKS 'heat2d arguments': of an uninterrupted run on this machine.
reference_answer()
{
	local ranks=$1
	shift
	# shellcheck disable=SC2048,SC2086 # words wanted
	timeout 120 mpirun --oversubscribe --mca btl self,vader -n "$ranks" "$heat2d" $* 2>&1 |
		sed -n 's/^checksum //p'
}
