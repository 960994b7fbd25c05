#!/bin/bash
# A job that is looked after.  A host that is cut off while its guests live: nothing is started elsewhere without a
# fence.  The host fails: fenced, and the job comes back on the other, though its supervisor is killed amid that; of two
# that go on in its place one acts.
# shellcheck source=tests/real/hosts.sh
. "$(dirname "$0")/hosts.sh"

supervisors=()
trap 'stop_supervisors; cleanup' EXIT

# supervise NAME OPTION...: one more, whose events are in $TEST_DIR/NAME.log.
supervise()
{
	local name=$1
	shift
	"$VCKPT_BUILD/run" "$VCKPT_BUILD/vckpt" supervise heat --json --look 300ms --silence 1s --every 1h "$@" \
		>"$TEST_DIR/$name.log" 2>"$TEST_DIR/$name.err.log" &
	supervisors+=($!)
}

# All of them, with SIGKILL.
stop_supervisors()
{
	local p
	for p in "${supervisors[@]}"; do
		kill -KILL "$p" 2>/dev/null
		wait "$p" 2>/dev/null
	done
	supervisors=()
}

# said NAME CONDITION: has this supervisor told of such an event?  Its last line may be half written.
said()
{
	[ -n "$(jq -R "fromjson? | select($2) | 1" "$TEST_DIR/$1.log")" ]
}

done_() # NAME ACTION
{
	said "$1" ".event == \"done\" and .action == \"$2\" and .good"
}

either_done()
{
	done_ c "$1" || done_ d "$1"
}

# expect_soon NAME COMMAND...
expect_soon()
{
	local name=$1
	shift
	wait_until 60 "$@" && pass "$name" || fail "$name" "$(tail -n 5 "$TEST_DIR"/[a-d].log)"
}

incarnation()
{
	vckpt status heat --json | jq .incarnation
}

# Hosts are reached by this, unless they are cut off.
cat >"$TEST_DIR/launch" <<X
#!/bin/sh
[ ! -e "$TEST_DIR/cut-\$1" ] || { echo "no route to \$1" >&2; exit 1; }
exec "$lab" exec "\$1" "$VCKPT_BUILD/run" vckptd --stdio
X
# By fence-agents' convention; what it was asked for is kept.
cat >"$TEST_DIR/fence" <<X
#!/bin/sh
export LAB_DIR="$LAB_DIR"
while read -r line; do
	case \$line in plug=*) plug=\${line#plug=} ;; action=*) action=\${line#action=} ;; esac
done
echo "\$action \$plug" >>"$TEST_DIR/fenced"
case \$action in
off) [ ! -e "$LAB_DIR/hosts/\$plug/pid" ] || "$lab" crash "\$plug" ;;
status) [ -e "$LAB_DIR/hosts/\$plug/pid" ] || exit 2 ;;
*) exit 1 ;;
esac
X
chmod 700 "$TEST_DIR/launch" "$TEST_DIR/fence"
export VCKPT_LAUNCHER="$TEST_DIR/launch {host}"

hosts_start 2
supervise a
expect_soon "a checkpoint is taken, since there is none" done_ a checkpoint
heat_moves "the job goes on" 40

touch "$TEST_DIR/cut-h2"
expect_soon "a host is cut off, and there is no fence: refused, with its name" \
	said a '.event == "decision" and .action == "refuse" and .host == "h2"'
expect_match "with what is to be done" "$(cat "$TEST_DIR/a.log")" 'h2 may still run its guests.*switch it off and confirm'
expect_ok "each guest runs where it was, and only there" eval 'only_on n1 h1 && only_on n2 h2'
expect_eq "nothing was restarted" "$(incarnation)" 0
heat_moves "the job goes on, since both sides live" 40
stop_supervisors

"$lab" crash h2
rm "$TEST_DIR/cut-h2"
VCKPT_FAULT_STOP=restore supervise b --fence "$TEST_DIR/fence"
wait_until 60 grep -q '^State:.T' "/proc/${supervisors[0]}/status" ||
	fail "a supervisor restores" "$(tail "$TEST_DIR/b.log")"
expect_eq "a host has failed and is fenced, as its status says, too" "$(tr '\n' ',' <"$TEST_DIR/fenced")" 'off h2,status h2,'
stop_supervisors
supervise c --fence "$TEST_DIR/fence"
supervise d --fence "$TEST_DIR/fence"
expect_soon "its supervisor is killed amid the restart: another one's comes about" either_done restart
expect_ok "all guests run on the host that is left" eval 'is_on h1 n1 && is_on h1 n2'
heat_moves "the job goes on" 40
expect_eq "of two supervisors one restarted it" "$(cat "$TEST_DIR"/[cd].log |
	jq -s 'map(select(.event == "done" and .action == "restart" and .good)) | length')" 1
expect_eq "once" "$(incarnation)" 2
expect_match "it is kept why" "$(cat "$VCKPT_STORE/clusters/heat/reports"*)" 'restart.*h2 does not answer'
heat_ends "the job ends right"
finish
