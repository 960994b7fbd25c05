#!/bin/bash
# A guest of a running job goes to another host and back, by vckpt and by virsh behind its back; the job goes on,
# and what is not in time, given up or impossible leaves it where it was.
# shellcheck source=tests/real/hosts.sh
. "$(dirname "$0")/hosts.sh"

migrations_configured

# moves NAME GUEST FROM TO [OPTION...]: it does, and the job goes on.
moves()
{
	local name=$1 guest=$2 from=$3 to=$4
	shift 4
	if ! vckpt migrate heat "$guest" "$to" --json "$@" >"$TEST_DIR/moved.json" 2>"$TEST_DIR/vckpt.log"; then
		fail "$name" "$(cat "$TEST_DIR/moved.json" "$TEST_DIR/vckpt.log")"
		return
	fi
	expect_eq "$name" "$(jq -r '[.state, .guest, .from, .to] | join(" ")' "$TEST_DIR/moved.json")" "moved $guest $from $to"
	jq -c '{total_ms, downtime_ms, processed, rounds, throttle, postcopy}' "$TEST_DIR/moved.json" | sed 's/^/# /'
	only_on "$guest" "$to" || fail "$guest runs on $to only"
}

# stays NAME CODE PATTERN COMMAND...: fails so, and n1 is on h1 as before.
stays()
{
	local name=$1 code=$2 pattern=$3 said
	shift 3
	said=$("$@" 2>&1)
	expect_match "$name" "$?: $said" "^$code: .*$pattern"
	only_on n1 h1 || fail "n1 stays on h1"
}

hosts_start 2
moves "a guest moves under the job" n1 h1 h2
heat_moves "the job goes on"
expect_eq "it is known to be there, and defined there only" \
	"$(vckpt status heat --json | jq -r '[.guests[].host] | join(" ")') $("$lab" exec h1 virsh -q list --all --name | tr -d '\n')" "h2 h2 "
expect_ok "a checkpoint of it" vckpt checkpoint heat
moves "and back, before all of it is there since time is short" n1 h2 h1 --postcopy --limit 4 --deadline 8 --why "h2 is to be serviced"
expect_eq "by post-copy" "$(jq .postcopy "$TEST_DIR/moved.json")" true
expect_match "the log says why" "$(vckpt log heat)" 'migrate .*moved .*h2 is to be serviced'
heat_moves "the job goes on"

stays "no such host" 10 'host h9' vckpt migrate heat n1 h9
stays "no such guest" 3 'no guest n7' vckpt migrate heat n7 h2
stays "a libvirtd that cannot be reached" 10 'guest n1: cannot migrate' vckpt migrate heat n1 h2 --peer 'qemu+unix:///system?socket=/nowhere'
stays "a deadline that cannot be met" 5 'guest n1: .*given up.*give it more time' vckpt migrate heat n1 h2 --limit 1 --deadline 2
under_way()
{
	grep -q "Data remaining" <<<"$("$lab" exec h1 virsh domjobinfo n1 2>/dev/null)"
}

"$VCKPT_BUILD/run" "$VCKPT_BUILD/vckpt" migrate heat n1 h2 --limit 1 >"$TEST_DIR/cancel.out" 2>&1 &
cancelled=$!
wait_until 20 under_way || fail "it is under way"
said=$(vckpt checkpoint heat 2>&1)
expect_match "meanwhile the cluster is busy" "$?: $said" '^4: .*migrate'
kill -TERM $cancelled
wait $cancelled
expect_eq "stopped on request" $? 12
expect_ok "and it is where it was, not busy" wait_until 20 eval 'only_on n1 h1 && ! under_way'

"$lab" exec h1 virsh migrate --live --p2p --persistent n1 \
	"qemu+unix:///system?socket=$LAB_DIR/hosts/h2/run/libvirt/libvirt-sock" "unix://$TEST_DIR/by-hand" >"$TEST_DIR/virsh.log" 2>&1 ||
	fail "virsh moves it" "$(cat "$TEST_DIR/virsh.log")"
expect_match "what an administrator moved is followed" "$(vckpt checkpoint heat 2>&1)" 'n1: found on host h2, to which somebody moved it from host h1'
expect_eq "and is known to be there" "$(vckpt status heat --json | jq -r '[.guests[].host] | join(" ")')" "h2 h2"
expect_ok "killed there" vckpt kill heat
expect_ok "restarted where it was at last" vckpt restart heat
expect_ok "it runs there and only there" eval 'only_on n1 h2 && only_on n2 h2'
heat_ends "the job ends right"
finish
