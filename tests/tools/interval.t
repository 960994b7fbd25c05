#!/bin/bash
# vckpt interval, with the recorded store (tests/data/store: of tests/real/10-loop.t): two checkpoints, a restart that
# failed, a kill.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
recorded_store

json=$(vckpt interval --json)
is "the cost is that of the checkpoints there are" "$(jq -c '.cost | [.from, .checkpoints]' <<<"$json")" '["seen",2]'
is "it is the stall and half of the rest" \
	"$(jq '.cost | .s - (.stall_s + .total_s) / 2 | fabs < 1e-7' <<<"$json")" true
is "a cluster that did not fail yet has an estimate" "$(jq -c '.mtbf | [.from, .failures, has("high_s")]' <<<"$json")" \
	'["seen",0,false]'
is "which is its time by ln 2" "$(jq '.mtbf | .s * 0.693147180559945 / .observed_s - 1 | fabs < 1e-7' <<<"$json")" true
json=$(vckpt interval heat --json --cost 20s --mtbf 1d)
is "Young and Daly" "$(jq -c '[.young_s, .daly_s, .every_s] | map(. * 1000 | round)' <<<"$json")" \
	'[1859032,1845723,1865723]'
is "and where that comes from" "$(jq -c '[.cost.from, .mtbf.from]' <<<"$json")" '["said","said"]'
json=$(vckpt interval heat --json --cost 20s --mtbf 1d --recall 0.75 --warning 10m --precision 0.5)
is "a predictor makes it twice as long" "$(jq '.predictor.every_s / .every_s * 100 | round' <<<"$json")" 200
is "and better" "$(jq '.predictor.in_time and .predictor.efficiency > .efficiency' <<<"$json")" true
says "one that is late changes nothing" 'too late for a checkpoint' \
	vckpt interval --cost 20s --mtbf 1d --recall 0.75 --warning 10ms
says "for people" '^heat: a checkpoint every 31 min 6 s; 97\.[0-9]+ % of the time' vckpt interval --cost 20s --mtbf 1d
says "with the reasons" 'Young: 30 min 59 s.*Daly: 30 min 46 s' vckpt interval --cost 20s --mtbf 1d
says "a slowdown that is said" 'has 1 of its speed' vckpt interval --slowdown 0
# A report led to a checkpoint, and the host failed; another one failed without a word.
at=1700000000
line() { printf '{"event":"%s","time":%d000000000,"host":"h1","who":"test",%s}\n' "$1" $((at += 10)) "$2"; }
{
	line report '"source":"edac","chance":0.5,"within_s":100,"text":"x"'
	line begin '"action":"checkpoint","text":"x"'
	line end '"action":"checkpoint","state":"done","text":"x"'
	line failed '"text":"x"'
	line failed '"text":"x"'
} >"$VCKPT_STORE/clusters/heat/reports"
is "failures that a checkpoint came before make it longer" \
	"$(vckpt interval --json | jq -c '[.answered.failures, (.answered.recall * 1000 | round), .answered.every_s > .every_s]')" \
	'[1,378,true]'
says "for people, too" 'before 1 failure a report had led to a checkpoint: a recall of 0\.38' vckpt interval
rm "$VCKPT_STORE/clusters/heat/reports"
export VCKPT_CONFIG=$TEST_DIR/vckpt.conf
printf '%s\n' '[supervise]' 'mtbf = 30d' 'slowdown = 0.1' >"$VCKPT_CONFIG"
is "what is set" "$(vckpt interval --json | jq -c '[.mtbf.from, .mtbf.s, .cost.slowdown]')" '["set",2592000,0.1]'
printf '%s\n' '[supervise]' 'slowdown = 1.5' >"$VCKPT_CONFIG"
refused "a share that cannot be" 2 ":2: slowdown takes a share from 0 to 1, not '1.5'" interval
export VCKPT_CONFIG=/dev/null

for words in '--mtbf 0' '--mtbf soon' '--cost -1' '--recall 1 --warning 1m' '--recall 0.5' '--warning 1m' '--precision 0.5' \
	'--recall nan --warning 1m' '--slowdown 2' 'heat other'; do
	# shellcheck disable=SC2086
	vckpt interval $words >"$TEST_DIR/said" 2>&1
	is "'$words' is refused" $? 2
done
refused "a cluster that is not there" 3 nosuch interval nosuch
rm -r "$VCKPT_STORE/clusters/heat/epochs"
mkdir -m 700 "$VCKPT_STORE/clusters/heat/epochs"
refused "no checkpoint, no cost" 3 'cluster heat has no checkpoint.*--cost' interval heat
finish
