#!/bin/bash
# What a site has a say in: its hooks on hosts and in guests.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
export VCKPT_HOOKS=$TEST_DIR/hooks

# host_hook KIND NAME SCRIPT
host_hook()
{
	mkdir -p "$VCKPT_HOOKS/$1.d"
	printf '#!/bin/sh\n%s\n' "$3" >"$VCKPT_HOOKS/$1.d/$2"
	chmod 755 "$VCKPT_HOOKS/$1.d/$2"
}

# guest_hook GUEST KIND NAME SCRIPT
guest_hook()
{
	printf '#!/bin/sh\n%s\n' "$4" >"$TEST_DIR/hook"
	"$lab" run "$1" "mkdir -p /etc/vckpt/guest-hooks/$2.d" &&
		"$lab" put "$1" "$TEST_DIR/hook" "/etc/vckpt/guest-hooks/$2.d/$3" &&
		"$lab" run "$1" "chmod 755 /etc/vckpt/guest-hooks/$2.d/$3"
}

# What hooks said of an epoch, one "WHERE KIND/NAME STATUS: TEXT" a line.
said_of()
{
	vckpt show "site@$1" --json | jq -r '.record.hooks[]? | (.guest // .host) + " \(.when)/\(.hook) \(.status): \(.said)"'
}

hooks()
{
	# shellcheck disable=SC2016 # the hook's own
	host_hook pre-checkpoint 10-host 'echo $VCKPT_CLUSTER $VCKPT_EPOCH $VCKPT_INCARNATION'
	# shellcheck disable=SC2016
	host_hook post-checkpoint 10-host 'echo $VCKPT_RESULT'
	# shellcheck disable=SC2016
	host_hook post-restart 10-host 'echo $VCKPT_RESULT from $VCKPT_EPOCH as $VCKPT_INCARNATION'
	# shellcheck disable=SC2016
	guest_hook n1 pre-checkpoint 10-guest 'echo in $VCKPT_GUEST; sleep 0.3; true'
	guest_hook n1 post-checkpoint 10-guest 'echo bad >&2; exit 4'
	expect_ok "a checkpoint with hooks" vckpt checkpoint site
	expect_eq "what they said is in the record" "$(said_of 1)" "h1 pre-checkpoint/10-host 0: site 1 0
n1 pre-checkpoint/10-guest 0: in n1
n1 post-checkpoint/10-guest 4: bad
h1 post-checkpoint/10-host 0: committed"
	expect_match "and shown" "$(vckpt show site@1)" '^  hook pre-checkpoint/10-guest, n1: status 0 in .*: in n1$'
	expect_match "what failed is in the log" "$(vckpt log site)" '^  hook post-checkpoint/10-guest, n1: status 4 in .*: bad$'
	expect_eq "the catalogue has those before the commit" \
		"$(jq '[.. | .hooks? // empty][0] | length' "$VCKPT_STORE"/clusters/site/epochs/*1*)" 2

	host_hook pre-checkpoint 20-no 'echo the licence server is down; exit 1'
	said=$(vckpt checkpoint site 2>&1)
	expect_eq "a hook that fails refuses the checkpoint" $? 7
	expect_match "with what it said" "$said" 'hook 20-no ended with status 1: the licence server is down'
	expect_eq "nothing was prepared" "$(vckpt log site --json | jq -r '.[-1] | .state + " \(.stall_ms)"')" "failed null"
	expect_eq "nor committed" "$(vckpt ls site --json | jq length)" 1
	expect_ok "unless it is told to go on" vckpt checkpoint site --hooks=go-on
	rm "$VCKPT_HOOKS/pre-checkpoint.d/20-no"

	guest_hook n2 pre-checkpoint 10-slow 'sleep 100 & echo $! >/run/slow; wait'
	printf '[hooks]\nlimit = 1\n' >"$TEST_DIR/conf"
	said=$(VCKPT_CONFIG=$TEST_DIR/conf vckpt checkpoint site 2>&1)
	expect_eq "so does one that runs out of time" $? 7
	expect_match "which is named" "$said" 'guest n2: hook 10-slow was not done in time'
	# shellcheck disable=SC2016
	expect_fail "and its children are gone" "$lab" run n2 'kill -0 $(cat /run/slow)'
	"$lab" run n2 'chmod 777 /etc/vckpt/guest-hooks/pre-checkpoint.d/10-slow'
	expect_match "a file that others may write is not run" "$(vckpt checkpoint site 2>&1)" 'chmod go-w'
	"$lab" run n2 'rm -r /etc/vckpt'
	expect_ok "nobody is left held" guests_free
	kill_guest n1 n2
	expect_ok "a restart" vckpt restart site@1
	expect_eq "runs hooks, too" "$(vckpt log site --json | jq -r '.[-1].hooks[] | (.guest // .host) + " \(.when): " + .said')" \
		"h1 post-restart: running from 1 as 1"
}

lab_start 2
expect_ok "domains are adopted" vckpt adopt site n1 n2
hooks
finish
