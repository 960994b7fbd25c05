# shellcheck shell=bash
# looked-after.sh: a job with two guests on three hosts, and its supervisors, for failures and supervisor.
# shellcheck source=tests/real/hosts.sh
. "$(dirname "${BASH_SOURCE[0]}")/../real/hosts.sh"
# shellcheck source=tests/real/supervise.sh
. "$top_src/tests/real/supervise.sh"
trap 'stop_sampling; stop_supervisors; cleanup' EXIT
# shellcheck disable=SC2034 # vckpt.sh's: the hosts' processors are those of one machine
heat_pause=10
sampler=

# copies: "GUEST HOST", a line for each QEMU there is, also of one that does not run yet.
copies()
{
	local h pid
	for h in h1 h2 h3; do
		read -r pid _ 2>/dev/null <"$LAB_DIR/hosts/$h/pid" || continue
		nsenter -t "$pid" -p -m pgrep -a qemu | sed -n "s/.* guest=\([^, ]*\).*/\1 $h/p"
	done 2>/dev/null
}

# Looks again and again whether a guest is there twice, and notes it.
sample()
{
	while :; do
		copies | sort -u | awk '{n[$1]++} END {for (g in n) if (n[g] > 1) print g " is there " n[g] " times"}' >>"$TEST_DIR/twice"
		sleep 0.1
	done
}

start_sampling()
{
	: >"$TEST_DIR/twice"
	sample 2>/dev/null &
	sampler=$!
}

stop_sampling()
{
	[ -z "$sampler" ] || { kill "$sampler" && wait "$sampler"; } 2>/dev/null
	sampler=
}

# look_after NAME OPTION...
look_after()
{
	supervise "$@" --look 300ms --silence 1s --tries 50 --on h1,h2,h3
}

# A fresh lab with the job on h1 and h2; h3 is spare.  Hosts are reached unless cut-HOST is there.
job_ready()
{
	stop_supervisors
	[ ! -e "$LAB_DIR" ] || "$lab" down "$LAB_DIR"
	rm -f "$TEST_DIR"/cut-* "$TEST_DIR"/*.log "$TEST_DIR/fenced"
	hosts_start 3
	fence_ready
}

cat >"$TEST_DIR/launch" <<X
#!/bin/sh
[ ! -e "$TEST_DIR/cut-\$1" ] || { echo "no route to \$1" >&2; exit 1; }
exec "$lab" exec "\$1" "$VCKPT_BUILD/run" vckptd --stdio
X
chmod 700 "$TEST_DIR/launch"
export VCKPT_LAUNCHER="$TEST_DIR/launch {host}"

# moves NAME: the job gets further.
moves()
{
	local now
	now=$(job_progress)
	# Back at an epoch it may first say less than before.
	further() { local s && s=$(job_progress) && [ "$s" -gt 0 ] && { [ "$s" -gt "$now" ] || { now=$s && false; }; }; }
	wait_until 150 further && pass "$1" || fail "$1" "$(tail -n 4 "$TEST_DIR"/s*.log)"
}

up_hosts() { for h in h1 h2 h3; do [ ! -e "$LAB_DIR/hosts/$h/pid" ] || echo $h; done; }

revive_all()
{
	local h
	for h in h1 h2 h3; do
		[ -e "$LAB_DIR/hosts/$h/pid" ] || "$lab" revive $h || give_up "$h does not come back"
	done
}

incarnation() { vckpt status heat --json | jq .incarnation; }
