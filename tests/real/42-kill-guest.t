#!/bin/bash
# A guest, or the agent in it, dies in each state of the protocol: the epoch fails or is whole, the other guest is
# left free, and the job goes on or is restarted from the epoch before.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_pause=100
heat_start 2
expect_ok "a first checkpoint" vckpt checkpoint heat

agent_pid()
{
	LAB_TIMEOUT=15 "$lab" run n2 'pidof vckpt-agent' 2>/dev/null | tr ' ' '\n' | sort -n | head -n 1
}

kills()
{
	"$lab" console n2 | grep -c AGENT-KILLED
}

# While a gate is shut nothing from outside gets an answer out of a guest, so its end is arranged beforehand:
# so many seconds of the guest's own time after the agent's notes (struct vckpt_state) say "held".
arm_killer()
{
	"$lab" run n2 "job start killer '
		while [ \$((\$(od -An -tu4 -j12 -N4 /run/vckpt/state) & 3)) != 1 ]; do usleep 5000; done
		sleep $1; kill -KILL \$(pidof vckpt-agent); echo AGENT-KILLED >/dev/console'" ||
		give_up "the killer does not start"
}

killed_again()
{
	[ "$(kills)" -gt "$1" ]
}

# after_agent NAME BEFORE: what has to be true once the agent was killed; BEFORE is what agent_pid said.
after_agent()
{
	vckpt_signal CONT
	wait "$vckpt_job" 2>/dev/null
	expect_ok "agent killed $1: the guests run and answer" wait_until 60 guests_free
	expect_fail "agent killed $1: another one runs" test "$(agent_pid)" = "$2"
	heat_moves "agent killed $1: the job goes on"
}

for phase in prepare quiet commit; do
	before=$(agent_pid)
	vckpt_stopped $phase checkpoint heat || continue
	"$lab" run n2 'kill -KILL $(pidof vckpt-agent)'
	after_agent "at '$phase'" "$before"
done
for when in stop:0.1 release:1.5; do
	before=$(agent_pid)
	n=$(kills)
	arm_killer "${when#*:}"
	vckpt_stopped "${when%:*}" checkpoint heat || continue
	expect_ok "the agent is killed while the gate is shut" wait_until 10 killed_again "$n"
	after_agent "at '${when%:*}'" "$before"
done
# All of them have a successor that is as good.
expect_ok "a checkpoint with the agents' successors" vckpt checkpoint heat --drain require

newest=$(epochs | wc -w)
for phase in prepare quiet stop "device state" run release; do
	vckpt_stopped "$phase" checkpoint heat || continue
	"$lab" exec h1 sh -c 'kill -KILL $(cat /run/libvirt/qemu/n2.pid)'
	vckpt_signal CONT
	wait "$vckpt_job" && fail "guest killed at '$phase': vckpt says so"
	expect_ok "guest killed at '$phase': the other one runs" wait_until 40 guest_is n1 running
	expect_eq "guest killed at '$phase': the history is untouched" "$(epochs | wc -w)" "$newest"
	expect_ok "guest killed at '$phase': restart" vckpt restart heat@1 --destroy
	heat_moves "guest killed at '$phase': the restored job goes on"
done
# When all is captured a guest's death takes nothing from the epoch.
if vckpt_stopped commit checkpoint heat; then
	"$lab" exec h1 sh -c 'kill -KILL $(cat /run/libvirt/qemu/n2.pid)'
	vckpt_signal CONT
	wait "$vckpt_job"
	expect_eq "guest killed at 'commit': the epoch is there" "$(epochs | wc -w)" $((newest + 1))
	expect_ok "guest killed at 'commit': restart from that very epoch" vckpt restart heat --destroy
fi
heat_ends "the job ends right"
finish
