#!/bin/bash
# Every gate with every engine: checkpoint, kill, restart, right answer; and what the records say.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

heat_start 2
n=0
for engine in background stop-copy; do
	for gate in nic-plug socket none; do
		drain=require
		[ $gate != none ] || drain=none
		expect_ok "checkpoint by $engine with gate $gate" \
			vckpt checkpoint heat --engine $engine --gate $gate --drain $drain
		n=$((n + 1))
		record=$(vckpt show "heat@$n" --json)
		expect_eq "its record names the engine" "$(jq -r .record.engine <<<"$record")" $engine
		expect_eq "its record names the gate" "$(jq -r .record.gate <<<"$record")" $gate
		[ $gate = none ] ||
			expect_eq "it was quiet" "$(jq .record.quiet <<<"$record")" true
		expect_ok "all guests run and answer" guests_free
	done
done
for ((e = 1; e <= n; e++)); do
	vckpt kill heat || fail "kill"
	expect_ok "restart from epoch $e" vckpt restart "heat@$e"
	if [ $((e % 3)) -eq 0 ]; then
		heat_moves "the job restored from $e goes on"
	else
		heat_moves "the job restored from $e goes on"
	fi
done
heat_ends "and ends right"
finish
