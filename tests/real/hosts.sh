# shellcheck shell=bash
# hosts.sh: jobs over several hosts, on top of vckpt.sh.  vckpt runs in none of them and reaches each by a launcher.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "${BASH_SOURCE[0]}")/vckpt.sh"
export VCKPT_LAUNCHER="$lab exec {host} $VCKPT_BUILD/run vckptd --stdio"
export VCKPT_SOCKET=$TEST_DIR/nobody.sock

# vckpt ARGUMENTS: on a machine that is no host of the cluster.
vckpt()
{
	"$VCKPT_BUILD/run" vckpt "$@"
}

# serve_on HOST: a vckptd there that stays.
serve_on()
{
	"$lab" exec "$1" "$VCKPT_BUILD/run" vckptd --daemon || give_up "vckptd does not start on $1"
}

# tree_of WIDTH: hosts beyond so many are reached through others.  Those have no way into the lab's namespaces, so they go
# to the socket of a vckptd that runs; "reached" has who reached whom.  No relay is given up for being slow.
tree_of()
{
	local h
	export VCKPT_CONFIG=$TEST_DIR/vckpt.conf VCKPT_LAUNCHER="$TEST_DIR/reach {host}"
	printf '[launch]\nwidth = %s\npatience = 300\n' "$1" >>"$VCKPT_CONFIG"
	cat >"$TEST_DIR/reach" <<-X
		#!/bin/sh
		from=\$VIA socket=$LAB_DIR/hosts/\$1/run/vckpt/vckptd.sock
		echo "\${from:-outside}-\$1" >>$TEST_DIR/reached
		export VIA=\$1
		[ "\$from" ] || exec $lab exec "\$1" $VCKPT_BUILD/run vckptd --stdio
		[ -S "\$socket" ] || { echo "no vckptd of \$1" >&2; exit 1; }
		exec $VCKPT_BUILD/run vckptd --stdio --socket "\$socket"
	X
	chmod +x "$TEST_DIR/reach"
	for h in "$LAB_DIR"/hosts/h[0-9]; do
		serve_on "${h##*/}"
	done
}

# hosts_start N_HOSTS [WIDTH]: lab, cluster "heat" of n1 and n2 on the hosts h1 and h2, and the job with two ranks in each;
# the hosts are reached by a tree of that width, if one is given.
hosts_start()
{
	# They migrate while they compute: see `lab --help`.
	lab_start 2 "$1" --migrates yes
	[ -z "${2-}" ] || tree_of "$2"
	expect_ok "domains of two hosts are adopted" vckpt adopt heat h1:n1 h2:n2
	job_start "--host n1:2,n2:2 heat2d $(heat_args)"
	job_wait_step 80 || give_up "the job does not start: $(job_output)"
}

# How the hosts' libvirtds and QEMUs reach each other.
migrations_configured()
{
	export VCKPT_CONFIG=$TEST_DIR/vckpt.conf
	cat >"$VCKPT_CONFIG" <<-X
		[migrate]
		peer = qemu+unix:///system?socket=$LAB_DIR/hosts/{host}/run/libvirt/libvirt-sock
		data = unix://$TEST_DIR/to-{host}
	X
}

# state HOST GUEST: libvirt's word, or nothing if that host knows no such domain.
state()
{
	"$lab" exec "$1" virsh domstate "$2" 2>/dev/null | head -n 1
}

is_on()
{
	[ "$(state "$1" "$2")" = running ]
}

# only_on GUEST HOST: it runs there and nowhere else.
only_on()
{
	local h
	for h in "$LAB_DIR"/hosts/h*; do
		h=${h##*/}
		if [ "$h" = "$2" ]; then
			is_on "$h" "$1" || return 1
		else
			case $(state "$h" "$1") in '' | 'shut off') ;; *) return 1 ;; esac
		fi
	done
}

# kill_on HOST GUEST...: kills what runs of these guests on these hosts, as their failure would.
kill_on()
{
	local h=$1 g
	shift
	for g in "$@"; do
		"$lab" exec "$h" sh -c "kill -KILL \$(cat /run/libvirt/qemu/$g.pid)" 2>/dev/null
		wait_until 20 is_off "$h" "$g" || give_up "$g on $h does not die"
	done
}

is_off()
{
	case $(state "$1" "$2") in '' | 'shut off') ;; *) return 1 ;; esac
}

# hosts_free HOST:GUEST...: all run where they should, and answer.
hosts_free()
{
	local p
	for p in "$@"; do
		is_on "${p%:*}" "${p#*:}" || return 1
		LAB_TIMEOUT=15 "$lab" run "${p#*:}" 'gsh n1 true && gsh n2 true' >/dev/null 2>&1 || return 1
	done
}

# shellcheck disable=SC2034 # for those who source this
# vckpt_stopped PHASE COMMAND...: as that of vckpt.sh, but vckpt is a process of this machine.
vckpt_stopped()
{
	local phase=$1
	shift
	VCKPT_FAULT_STOP="$phase" "$VCKPT_BUILD/run" "$VCKPT_BUILD/vckpt" "$@" >"$TEST_DIR/vckpt.out" 2>"$TEST_DIR/vckpt.log" &
	vckpt_pid=$!
	vckpt_job=$vckpt_pid # what tests wait for
	wait_until 40 vckpt_is_stopped || { fail "vckpt stops at $phase" "$(cat "$TEST_DIR/vckpt.log")"; return 1; }
}

vckpt_is_stopped()
{
	grep -q '^State:.T' "/proc/$vckpt_pid/status"
}
