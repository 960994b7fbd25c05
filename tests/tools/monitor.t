#!/bin/bash
# vckpt monitor without guests: counters of memory errors, laid out as the kernel does, become words; what cannot be heard is
# told, and tried again; a real logind's shutdown waits for it.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
recorded_store
reports=$VCKPT_STORE/clusters/heat/reports
edac=$TEST_DIR/edac
events=$TEST_DIR/events
pid=

# monitor OPTION...: in the background.
monitor()
{
	: >"$events"
	"$VCKPT_BUILD/vckpt" monitor --json --look 50ms "$@" >"$events" 2>"$TEST_DIR/errors" &
	pid=$!
}

# stop NAME: it ends when it is told to, which is success.
stop()
{
	kill "$pid"
	wait "$pid"
	is "$1" $? 0
}

# heard NAME CONDITION: it tells of such an event within 30 s.
heard()
{
	local end=$((SECONDS + 30))
	until [ -n "$(jq -R "fromjson? | select($2) | 1" "$events")" ]; do
		[ $SECONDS -lt $end ] || { fail "$1" "$(cat "$events" "$TEST_DIR/errors")"; return; }
		sleep 0.05
	done
	pass "$1"
}

# count FILE N: in one go, as the kernel's files are.
count()
{
	echo "$2" >"$edac/new"
	mv "$edac/new" "$edac/mc/$1"
}

monitor --for edac --edac "$edac" --edac-half 10
heard "where nothing counts that is told" '.event == "listens" and .to == "edac" and (.good | not) and (.text | test("EDAC driver"))'
mkdir -p "$edac/mc/mc0/dimm1"
count mc0/dimm1/dimm_label DIMM_B1
count mc0/dimm1/dimm_ce_count 5000
count mc0/ue_count 0
count mc0/ce_count 5000
heard "and tried again" '.event == "listens" and .to == "edac" and .good'
is "what was counted before is no word" "$(cat "$reports" 2>/dev/null)" ''
count mc0/ce_count 5010
heard "corrected errors are, with a confidence" '.cluster == "heat" and .host == "localhost" and .source == "edac" and .chance == 0.8 and
	.text == "40 corrected memory errors an hour, 0 not corrected since it started, most in DIMM_B1"'
count mc0/ue_count 1
heard "one that could not be corrected makes it surer" '.source == "edac" and .chance == 0.9'
says "which is what is acted on" 'evacuate localhost: host localhost is to fail, 90 % sure \(edac\)' vckpt report --list heat
count mc0/ue_count 0
heard "a driver that begins anew takes it back" '.source == "edac" and .kind == "clear"'
stop "it is stopped"

monitor --for libvirt --uri "qemu+unix:///system?socket=$TEST_DIR/none"
heard "a libvirtd that does not run is told" '.event == "listens" and .to == "libvirt" and (.good | not) and (.text | test("does it run"))'
stop "and no failure"
DBUS_SYSTEM_BUS_ADDRESS=unix:path=$TEST_DIR/none monitor --for shutdown
heard "so is a bus that is not there" '.event == "listens" and .to == "shutdown" and (.good | not) and (.text | test("bus"))'
stop "nor is that"

# A machine of its own, with a bus and logind, where nobody of ours runs: a shutdown waits only until that is seen.
said=$(unshare -mpf --kill-child --mount-proc --propagation private sh -c '
	mount -t tmpfs run /run
	"$1/tests/lab/logind" "$2/logind" || exit
	"$VCKPT_BUILD/vckpt" monitor --for shutdown --json >"$2/shutdown" &
	inhibitors() { busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager ListInhibitors; }
	i=0
	until inhibitors | grep -c \"vckpt\" >"$2/count"; do i=$((i + 1)); [ $i -lt 600 ] || exit; sleep 0.05; done
	inhibitors
	busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager Reboot b false
	until grep -x reboot.target "$2/logind/started"; do sleep 0.05; done' - "$top" "$TEST_DIR" 2>&1)
is "logind waits for it" "$(grep -c '"shutdown" "vckpt" "virtual machines of MPI jobs leave this host" "delay"' <<<"$said")" 1
is "and goes on" "$(tail -n 1 <<<"$said")" reboot.target
is "having asked it" "$(jq -c 'select(.event == "shutdown") | [.begins, .within_s == 5]' "$TEST_DIR/shutdown")" '[true,true]'

for words in '--for moon' '--for ,' '--look 1ms' '--host -x' '--edac-half 0' 'heat other'; do
	# shellcheck disable=SC2086
	vckpt monitor $words >"$TEST_DIR/said" 2>&1 </dev/null
	is "'$words' is refused" $? 2
done
refused "no store" 3 '' monitor --store "$TEST_DIR/nowhere"
finish
