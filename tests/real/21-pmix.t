#!/bin/bash
# PMIx' events, in guests of Debian 13 with Open MPI 5.0 (its prterun bears tools): what a tool says of nodes, pre-emption
# and sensors becomes a report, of the guest it is about; a checkpoint that anybody takes is told, one that is asked for by
# an event is taken; in another life, too.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

VCKPT_TEST_IMAGE=$VCKPT_BUILD/image-trixie
[ -e "$VCKPT_TEST_IMAGE/initrd" ] || "$top_src/guest/build" -q --suite trixie \
	--tree "$VCKPT_BUILD/suite-trixie" --out "$VCKPT_TEST_IMAGE" || give_up "no guest image of trixie"

# notify GUEST CODE [WORD...]: from a tool there.
notify()
{
	# shellcheck disable=SC2016 # for the guest's shell
	"$lab" run "$1" 'pid=$(pidof prterun || pidof prted); pmix-events notify ${pid%% *} '"${*:2}"
}

# word GUEST: "CHANCE SECONDS TEXT" of what stands of it.
word()
{
	vckpt report --list heat --json |
		jq -r ".open[] | select(.guest == \"$1\") | \"\(.chance) \(((.due_ns // .heard_ns) - .heard_ns) / 1e9) \(.text)\""
}

has_word()
{
	[ "$(word "$1")" = "$2" ]
}

# reports: "GUEST CHANCE SECONDS TEXT" of each that was heard.
reports()
{
	jq -r 'select(.event == "report") | "\(.guest) \(.chance) \(.within_s) \(.text)"' "$TEST_DIR/watch.out" | sort
}

# listen EPOCH: a tool that listens until that one is committed, in n2.
listen()
{
	# shellcheck disable=SC2016 # for the guest's shell
	"$lab" run n2 'rm -f /tmp/jobs/tool*; pid=$(pidof prted); job start tool pmix-events wait ${pid%% *} complete 300 '"$1"
	wait_until 30 tool_says '^listening$' || give_up "a tool cannot meet the launcher: $("$lab" run n2 'job output tool')"
}

tool_says()
{
	grep -Eq "$1" <<<"$("$lab" run n2 'job output tool' 2>/dev/null)"
}

said()
{
	grep -q "$1" "$TEST_DIR/watch.out"
}

heat_pause=10
heat_start 2
"$lab" exec h1 "$VCKPT_BUILD/run" vckpt watch heat --json --every 0 >"$TEST_DIR/watch.out" 2>"$TEST_DIR/watch.log" &
wait_until 20 said '"guest":"n2","listens":true' || give_up "nobody is listened to: $(cat "$TEST_DIR/watch.log")"

expect_ok "a tool sends events" notify n1 node-offline node=n2 in=600 text=drained preempt in=60 sensor text=85C \
	node-down node=n9.example.org
expect_ok "what it says of a node is a word on that guest" wait_until 20 has_word n2 '1 600 PMIX_EVENT_NODE_OFFLINE of n2: drained'
expect_ok "of one where nobody is left, on rank 0's guest" wait_until 20 has_word n1 '1 0 PMIX_EVENT_NODE_DOWN of n9.example.org'
expect_eq "what was said of the job, there, too; each once" "$(reports)" "n1 0.5 0 PMIX_ERR_JOB_SENSOR_BOUND_EXCEEDED: 85C
n1 1 0 PMIX_EVENT_NODE_DOWN of n9.example.org
n1 1 60 PMIX_JCTRL_PREEMPT_ALERT
n2 1 600 PMIX_EVENT_NODE_OFFLINE of n2: drained"
expect_match "something is to be done because of it" "$(vckpt report --list heat)" '^to be done: checkpoint n2: .*PMIX_EVENT_NODE_OFFLINE'
heat_moves "and nobody ends the job"

listen 1
expect_ok "a checkpoint that an administrator takes" vckpt checkpoint heat
expect_ok "is told a tool in the other guest" wait_until 30 tool_says '^event -107 from rank 0 pmix.jctrl.ckpt="1" .*vckpt: epoch 1 is committed'
kill_guest n1 n2
expect_ok "the cluster is restarted" vckpt restart heat
heat_moves "the job goes on"
listen 2
expect_ok "an event asks for a checkpoint, in the new life" notify n1 checkpoint text=rm
expect_ok "it is taken" wait_until 60 said '"event":"committed","epoch":2'
expect_match "its record says who asked" "$(vckpt show heat --json | jq -r .record.why)" \
	'asked for by n1, pid [0-9]+ \(heat2d.*\): PMIX_JCTRL_CHECKPOINT: rm'
expect_ok "and it is told" wait_until 30 tool_says 'pmix.jctrl.ckpt="2"'
expect_eq "none of the life before is told again" "$("$lab" run n2 'job output tool' | grep -c '^event ')" 1
heat_ends "the job ends right"
finish
