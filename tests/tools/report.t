#!/bin/bash
# vckpt report, with the recorded store (tests/data/store; its guests are on this machine): words, alerts, what they come to.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
heat=$VCKPT_STORE/clusters/heat
recorded_store

listed()
{
	vckpt report --list --json | jq -c "$1"
}

is "nothing was said yet" "$(listed '[.open, .sources, .next]')" '[[],[],null]'
says "which is told" 'no word stands' vckpt report --list heat
says "a word is recorded" '^heat: host localhost: report recorded$' \
	vckpt report localhost --in 1h --confidence 0.8 --why 'fan 2' --source ipmi
is "and is there" "$(listed '.open[] | [.host, .source, .chance, .text, (.due_ns - .heard_ns) / 1000000000]')" \
	'["localhost","ipmi",0.8,"fan 2",3600]'
is "the host is to be left" "$(listed '[.next.action, .next.object]')" '["evacuate","localhost"]'
says "with the reason" 'host localhost is to fail within [0-9]+ s, 80 % sure \(ipmi\): fan 2' vckpt report --list
vckpt report localhost --clear --source ipmi -q
is "what is taken back was a false alarm" "$(listed '[.open, .next, .sources]')" \
	'[[],null,[{"source":"ipmi","came_true":0,"false_alarms":1}]]'
vckpt report localhost -q
vckpt report localhost --failed -q
vckpt report localhost --failed -q
is "what happens came true, or was not foretold" "$(listed '[.missed, .sources[1]]')" \
	'[1,{"source":"hand","came_true":1,"false_alarms":0}]'

alert='{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"Fan","instance":"localhost:9100","severity":"critical"},
	"annotations":{"summary":"slow \u001b[31m"}},{"status":"firing","labels":{"node":"other"}}]}'
is "an alert" "$(vckpt report --json - <<<"$alert" | jq -c '[.recorded[].source, .skipped]')" '["alertmanager:Fan",1]'
is "without control characters" "$(listed '[.open[].text]')" '["slow ?[31m"]'
is "of hosts that nobody has is no failure" "$(vckpt report - --cluster nosuch <<<"$alert")" "2 of no host of a cluster"
export VCKPT_CONFIG=$TEST_DIR/vckpt.conf
printf '%s\n' '[policy alertmanager]' 'evacuate = never' '[policy]' 'checkpoint = 0.5' 'most = 1' >"$VCKPT_CONFIG"
is "a policy of the source" "$(listed '.next.action')" '"checkpoint"'
printf '%s\n' '[policy alertmanager:Fan]' 'evacuate = never' 'checkpoint = never' >"$VCKPT_CONFIG"
is "or of one alert" "$(listed '.next')" null

# wrong NAME WORDS LINE...
wrong()
{
	local name=$1 words=$2
	shift 2
	printf '%s\n' "$@" >"$VCKPT_CONFIG"
	refused "$name" 2 "^vckpt ls: $VCKPT_CONFIG:$#: .*$words" ls
}
wrong "a confidence that cannot be" "evacuate takes a confidence from 0 to 1, or never, not '2'" '[policy x]' 'evacuate = 2'
wrong "a rule set twice" 'least is set twice' '[policy x]' 'least = 1s' 'least = 2s'
wrong "a time that cannot be" "rest takes a time" '[policy]' 'rest = soon'
wrong "a number that cannot be" "most takes a number from 0 to 64, not '65'" '[policy]' 'most = 65'
wrong "what is not of one source" "there is no setting 'rest' in \[policy x\]" '[policy x]' 'rest = 1s'
export VCKPT_CONFIG=/dev/null

refused "a host without guests" 3 'no cluster of the store .* has guests on a host nosuch' report nosuch
refused "a cluster that is not there" 3 'cluster nosuch has no guests on a host localhost' report localhost --cluster nosuch
refused "an option for a host" 2 '"-x" cannot be the name of a host' report -- -x
refused "a body that is none" 2 'this is no JSON' report - </dev/null
refused "a body of something else" 2 'no "alerts"' report - <<<'{"a":[]}'
head -c 5000000 /dev/zero | tr '\0' ' ' >"$TEST_DIR/big"
refused "a body without an end" 2 'more than 4 MiB' report - <"$TEST_DIR/big"
for words in 'localhost --in 0' 'localhost --in soon' 'localhost --confidence 1.1' 'localhost --confidence nan' 'localhost --clear --failed' \
	'localhost --failed --in 1s' 'localhost --failed --source x' '' 'localhost node18' '- --in 1s' '--list --clear' "localhost --source $(printf 'x%.0s' {1..70})"; do
	# shellcheck disable=SC2086
	vckpt report $words >"$TEST_DIR/said" 2>&1 </dev/null
	is "'${words:0:40}' is refused" $? 2
done
line() { printf '{"event":"%s","time":%s000000000,"host":"%s","who":"test",%s}\n' "$@"; }
now=$(date +%s)
line report "$now" node18 '"source":"ipmi","chance":0.9,"text":"x"' >>"$heat/reports"
line report "$now" node18 '"source":"edac","chance":0.9,"text":"x"' >>"$heat/reports"
refused "a host that the guests have left" 3 'has guests on a host node18$' report node18
says "a word on it is taken back" '^heat: host node18: clear recorded$' vckpt report node18.example.org --clear --source ipmi
is "that one" "$(listed '[.open[] | select(.host == "node18") | .source]')" '["edac"]'
vckpt report node18 --clear -q
is "then the other" "$(listed '[.open[] | select(.host == "node18")]')" '[]'
refused "and no more" 3 'has guests on a host node18, or a word that stands on it' report node18 --clear
is "an alert that is over, too" "$(line report "$now" node18 '"source":"alertmanager:Fan","chance":1,"text":"x"' >>"$heat/reports"
	sed 's/"firing"/"resolved"/; s/localhost:9100/node18/' <<<"$alert" | vckpt report --json - | jq -c '[.recorded[].host, .skipped]')" '["node18",1]'
head -c 3000 /dev/urandom >>"$heat/reports"
vckpt report localhost -q
is "noise hides nothing" "$(listed '[.open[] | select(.source == "hand")] | length')" 1
if said=$(unshare -m sh -ec 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"' "$VCKPT_STORE" \
	"$VCKPT_BUILD/vckpt" report localhost 2>&1); then
	fail "a store that cannot be written" "$said"
else
	is "a store that cannot be written is told of" "$(grep -c 'cannot open .*reports: Read-only' <<<"$said")" 1
fi
sed -i 's/n1/n3/' "$heat/cluster.json"
refused "a damaged definition" 3 'has guests on a host localhost, as far as definitions can be read' report localhost
finish
