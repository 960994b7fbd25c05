#!/bin/bash
# examples/slurm/report-node: a real slurmctld, with strigger's triggers set as the example says, tells of a node that is
# drained and that is to fail.  Slurm looks at its triggers every 15 seconds; VCKPT_TEST_UP=1 waits for a third one.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/slurm.sh
. "$top/tests/lab/slurm.sh"
recorded_store

if [ "${1-}" != inside ]; then
	# A machine "node1" with nothing but Slurm.
	rm -rf "$VCKPT_STORE"
	exec unshare -munpf --kill-child --mount-proc --propagation private "$0" inside
fi
reports=$VCKPT_STORE/clusters/heat/reports
export SLURM_CONF=$TEST_DIR/slurm.conf PATH=$VCKPT_BUILD:$PATH
hostname node1
ip link set lo up
ip link add net0 type bridge # an address that is not only of this machine, without which glibc finds none
ip addr add 10.99.0.201/24 dev net0
ip link set net0 up
mount -t tmpfs run /run
mkdir -p /run/munge /run/slurm/state /run/slurm/spool
slurm_files "$TEST_DIR" none <<X
SlurmctldHost=node1(10.99.0.201)
SlurmctldLogFile=$TEST_DIR/slurmctld.log
SlurmdLogFile=$TEST_DIR/slurmd.log
NodeName=node1 NodeAddr=10.99.0.201 CPUs=1 State=UNKNOWN
NodeName=localhost NodeAddr=10.99.0.201 Port=7000 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=node1,localhost Default=YES MaxTime=INFINITE State=UP
X

# until_true SECONDS COMMAND...
until_true()
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || { fail "waited for: $*" "$(tail -n 5 "$TEST_DIR"/*.log)"; finish; }
		sleep 0.1
	done
}

node_is()
{
	[ "$(sinfo -h -n node1 -o %t 2>/dev/null)" = "$1" ]
}

# told N: so many lines.
told()
{
	[ -e "$reports" ] && [ "$(wc -l <"$reports")" -ge "$1" ]
}

# set_trigger EVENT WHAT: as the example says.
set_trigger()
{
	says "a trigger on $1" 'trigger set' strigger --set --node --verbose "--$1" --flags=perm \
		--program="$top/examples/slurm/report-node $2" --user="$(id -u)"
}

munged --force --key-file "$TEST_DIR/munge.key" --pid-file /run/munge/munged.pid --log-file "$TEST_DIR/munge.log" \
	--seed-file /run/munge/seed >"$TEST_DIR/start.log" 2>&1 && slurmctld >>"$TEST_DIR/start.log" 2>&1 &&
	slurmd -N node1 >>"$TEST_DIR/start.log" 2>&1 || { fail "Slurm starts" "$(tail -n 5 "$TEST_DIR"/*.log)"; finish; }
until_true 60 node_is idle
set_trigger drained gone
set_trigger fail gone
set_trigger up up
# This machine is two nodes for it.
scontrol update NodeName=localhost State=FAIL Reason="row hammer in bank 3"
scontrol update NodeName=node1 State=DRAIN Reason="new fans"
until_true 60 told 2
is "a node that fails, and is drained" "$(jq -r '[.event, .host, .source, .chance] | join(" ")' "$reports" | sort)" "$(
	printf 'report localhost %s\n' 'slurm:drain 1' 'slurm:fail 0.9')"
says "Slurm's reason is told" 'says slurm:drain: 100 % sure.*drained: new fans' vckpt report --list heat
says "and it is to be left" 'evacuate localhost: host localhost is to fail.*\(slurm:' vckpt report --list heat
if [ -n "${VCKPT_TEST_UP-}" ]; then # one more look at triggers
	scontrol update NodeName=node1 State=DOWN Reason=test
	scontrol update NodeName=node1 State=RESUME
	until_true 60 told 4
else
	"$top/examples/slurm/report-node" up node1
fi
"$top/examples/slurm/report-node" up localhost
is "in service again" "$(vckpt report --list --json heat | jq -c .open)" '[]'
refused_by_hand=$("$top/examples/slurm/report-node" nonsense node1 2>&1)
is "another word is refused" "$?: $refused_by_hand" "2: report-node: gone or up, not 'nonsense'"
"$top/examples/slurm/report-node" gone node9 >/dev/null 2>&1
is "a node without guests is no failure" $? 0
finish
