#!/bin/bash
# A job that is looked after.  A host that is cut off while its guests live: nothing is started elsewhere without a
# fence.  The host fails: fenced, and the job comes back on the other, though its supervisor is killed amid that; of two
# that go on in its place one acts.
# shellcheck source=tests/real/hosts.sh
. "$(dirname "$0")/hosts.sh"

# shellcheck source=tests/real/supervise.sh
. "$(dirname "$0")/supervise.sh"
trap 'stop_supervisors; cleanup' EXIT
looks=(--look 300ms --silence 1s --every 1h)

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
chmod 700 "$TEST_DIR/launch"
fence_ready
export VCKPT_LAUNCHER="$TEST_DIR/launch {host}"

hosts_start 2
supervise a "${looks[@]}"
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
VCKPT_FAULT_STOP=restore supervise b "${looks[@]}" --fence "$TEST_DIR/fence"
wait_until 60 grep -q '^State:.T' "/proc/${supervisors[0]}/status" ||
	fail "a supervisor restores" "$(tail "$TEST_DIR/b.log")"
expect_eq "a host has failed and is fenced, as its status says, too" "$(tr '\n' ',' <"$TEST_DIR/fenced")" 'off h2,status h2,'
stop_supervisors
supervise c "${looks[@]}" --fence "$TEST_DIR/fence"
supervise d "${looks[@]}" --fence "$TEST_DIR/fence"
expect_soon "its supervisor is killed amid the restart: another one's comes about" either_done restart
expect_ok "all guests run on the host that is left" eval 'is_on h1 n1 && is_on h1 n2'
heat_moves "the job goes on" 40
expect_eq "of two supervisors one restarted it" "$(cat "$TEST_DIR"/[cd].log |
	jq -s 'map(select(.event == "done" and .action == "restart" and .good)) | length')" 1
expect_eq "once" "$(incarnation)" 2
expect_match "it is kept why" "$(cat "$VCKPT_STORE/clusters/heat/reports"*)" 'restart.*h2 does not answer'
heat_ends "the job ends right"
finish
