#!/bin/bash
# Programs that have a say: a job that asks for its own checkpoints, is killed and restarted, and knows; a file, a
# signal and a monitor that ask; who holds off is waited for; who asks too much is refused; reports are recorded.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

# "N" events of a kind, as `vckpt watch --json` told them.
events()
{
	jq -c "select(.event == \"$1\")" "$TEST_DIR/watch.out" 2>/dev/null | wc -l
}

more_events()
{
	[ "$(events "$1")" -gt "$2" ]
}

# The numbers of a host's processes are those of its own namespace.
watch_start()
{
	"$lab" exec h1 "$VCKPT_BUILD/run" sh -c 'vckpt "$@" & echo $! >"$0"; wait $!' "$TEST_DIR/watch.pid" \
		watch programs --json "$@" >"$TEST_DIR/watch.out" 2>"$TEST_DIR/watch.log" &
	watch_job=$!
	wait_until 20 more_events guest 1 || give_up "nobody is listened to: $(cat "$TEST_DIR/watch.log")"
}

watch_stop()
{
	"$lab" exec h1 sh -c "kill -TERM \$(cat $TEST_DIR/watch.pid)"
	wait "$watch_job"
	expect_eq "vckpt watch ends when it is told to" $? 0
}

# A job that hangs is restarted; from the epoch before, if the newest was taken when it hung already.
gets_on()
{
	"$lab" exec h1 "$VCKPT_BUILD/run" sh -c 'vckpt "$@" & echo $! >"$0"; wait $!' "$TEST_DIR/supervise.pid" \
		supervise programs --json --look 500ms --every 1h --stall 4s --tries 1 >"$TEST_DIR/supervise.out" 2>"$TEST_DIR/supervise.log" &
	local job=$! ok=1
	wait_until 90 grep -q '"action":"restart","good":true' "$TEST_DIR/supervise.out" &&
		wait_until 60 further_than "$1" && ok=0
	"$lab" exec h1 sh -c "kill -TERM \$(cat $TEST_DIR/supervise.pid)"
	wait "$job" && [ $ok -eq 0 ]
}

# further_than STEP
further_than()
{
	[ "$(last_step)" -gt "$1" ]
}

last_step()
{
	job_output 2>/dev/null | sed -n 's/^step \([0-9]*\)$/\1/p' | tail -n 1
}

job_says()
{
	grep -q "$1" <<<"$(job_output 2>/dev/null)"
}

monitor()
{
	local guest=$1
	shift
	"$lab" run "$guest" "job start monitor monitor $*"
}

monitor_ended()
{
	[[ $("$lab" run "$1" 'job status monitor') == ended* ]]
}

lab_start 2 1
expect_ok "domains are adopted" vckpt adopt programs n1 n2
watch_start --every 0
job_start "--host n1:1,n2:1 selfsave --steps 1000000 --every 60 --pause 5 --scratch 1"
expect_ok "the job saves itself" wait_until 60 job_says 'epoch 1 is committed'
expect_ok "its callbacks ran before" wait_until 10 job_says 'rank 1: before epoch 1'
expect_ok "and after" wait_until 10 job_says 'rank 1: after epoch 1'
expect_match "the record says who asked" "$(vckpt show programs --json | jq -r .record.why)" \
	'asked for by n1, pid [0-9]+ \(selfsave.*\), at 60 of 1000000: selfsave'

# What was asked for in one life is answered in the next.
kill_guest n1 n2
expect_ok "the cluster is restarted beside the watch" vckpt restart programs@1
expect_ok "the job knows that it was restored" wait_until 30 job_says '^step [0-9]*: restored from epoch 1, this is incarnation 1'
expect_ok "so does a rank that only listens" wait_until 30 job_says 'rank 1: restored from epoch 1, incarnation 1'
expect_ok "and it saves itself again" wait_until 60 job_says 'epoch [2-9][0-9]* is committed'

# A rank that stands still: the others wait for it, all guests run.
"$lab" run n2 'killall -STOP selfsave'
expect_ok "a job that hangs is noticed by what it says, restarted, and gets on" gets_on "$(last_step)"
expect_match "which is said" "$(cat "$TEST_DIR/supervise.out")" '"action":"restart","why":"there was no progress for 4 s"'
"$lab" run n1 'killall -USR1 selfsave'
expect_ok "the job ends" wait_until 60 job_ended
expect_match "and its answer is right" "$(job_output)" '^[0-9]+ steps, incarnation [2-9]: the answer is right'

n=$(events committed)
"$lab" run n2 'touch /run/checkpoint'
expect_ok "a file asks for a checkpoint" wait_until 30 more_events committed "$n"
expect_ok "and is removed" wait_until 20 "$lab" run n2 '[ ! -e /run/checkpoint ]'
n=$(events committed)
"$lab" run n1 'killall -USR1 vckpt-agent'
expect_ok "so does a signal" wait_until 30 more_events committed "$n"

monitor n2 hold-off 3
expect_ok "a program holds off" wait_until 10 "$lab" run n2 'grep -q holding /tmp/jobs/monitor.out'
expect_ok "a checkpoint of the administrator waits" vckpt checkpoint programs
expect_ok "until it is over" "$lab" run n2 'grep -q "^let go" /tmp/jobs/monitor.out'

"$lab" run n1 'monitor report "disk sda" 0.75 600 "sectors go"'
expect_ok "a report arrives" wait_until 20 more_events report 0
expect_match "and is recorded" "$(cat "$VCKPT_STORE"/clusters/programs/reports)" \
	'"object": ?"disk sda".*"chance": ?0.75|"chance": ?0.75.*"object": ?"disk sda"'
watch_stop

watch_start --every 3600
monitor n1 checkpoint 12
expect_ok "who asks too often is answered" wait_until 60 monitor_ended n1
said=$("$lab" run n1 'cat /tmp/jobs/monitor.out')
expect_eq "with one checkpoint" "$(grep -c 'is committed' <<<"$said")" 1
expect_match "then with when to ask again" "$said" 'not granted .*programs may have a checkpoint every 3600 s'
expect_match "and in the end by the agent itself" "$said" 'not granted .*asks for too many'
expect_ok "nobody is left held" guests_free
watch_stop
finish
