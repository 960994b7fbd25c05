#!/bin/bash
# vckpt metrics, with the recorded store: read by Prometheus' own parser, printed, from a file, by HTTP; and all that
# the alerts and the dashboard ask for is there.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
recorded_store

# "NAME{LABEL=VALUE,...} VALUE", a line a sample, as Prometheus' parser reads the standard input; it fails for what is
# no such text.
parsed()
{
	/usr/bin/python3 -c '
import sys
from prometheus_client.parser import text_string_to_metric_families as families
for f in families(sys.stdin.read()):
    for s in f.samples:
        assert f.documentation and f.type in ("gauge", "counter"), f.name
        print(s.name + "{" + ",".join(k + "=" + v for k, v in sorted(s.labels.items())) + "} %g" % s.value)'
}

# value NAME: of the one sample.
value()
{
	sed -n "s/^$1{.*} //p" "$TEST_DIR/samples"
}

http_get()
{
	/usr/bin/python3 -c '
import http.client, sys
at, path = sys.argv[1].split("/", 1)
c = http.client.HTTPConnection(at, timeout=30)
c.request("GET", "/" + path)
r = c.getresponse()
assert r.status == 200, r.status
assert r.headers["Content-Type"].startswith("text/plain; version=0.0.4"), r.headers
sys.stdout.write(r.read().decode())' "$1"
}

# wait_for SECONDS COMMAND...
wait_for()
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || { fail "waited for: $*"; finish; }
		sleep 0.05
	done
}

# A report of each end, and a supervisor that gave up in this incarnation and one before.
for line in '"event":"report","time":1700000000000000000,"host":"localhost","source":"x\"y\\z","chance":0.9,"within_s":10' \
	'"event":"report","time":1700000001000000000,"host":"localhost","source":"edac","chance":0.5,"within_s":10' \
	'"event":"failed","time":1700000002000000000,"host":"localhost"' \
	'"event":"stop","time":1700000003000000000,"incarnation":2,"newest":1,"text":"no use"'; do
	echo "{$line}"
done >"$VCKPT_STORE/clusters/heat/reports"
chmod 600 "$VCKPT_STORE/clusters/heat/reports"

# A place to which vckptd is to copy, and cannot: what was recorded has no memory of guests.
vckpt flush heat "$TEST_DIR/place" --after-commit >/dev/null 2>&1

vckpt metrics --no-hosts >"$TEST_DIR/text" 2>"$TEST_DIR/err"
is "metrics are told" "$?: $(cat "$TEST_DIR/err")" '0: '
parsed <"$TEST_DIR/text" >"$TEST_DIR/samples"
is "Prometheus' parser reads them" $? 0
is "the cluster is there" "$(cat "$TEST_DIR/samples" | grep '^vckpt_up')" 'vckpt_up{cluster=heat} 1'
is "its newest epoch" "$(value vckpt_newest_epoch)" "$(vckpt ls heat --json | jq 'map(.epoch) | max')"
is "when that was" "$(sed -n 's/^vckpt_newest_checkpoint_timestamp_seconds{.*} //p' "$TEST_DIR/text" | cut -d. -f1)" \
	"$(vckpt ls heat --json | jq 'map(.time_ns) | max / 1e9 | floor')"
is "what checkpoints cost" "$(value vckpt_checkpoint_stall_seconds)" \
	"$(printf %g "$(vckpt interval heat --json | jq .cost.stall_s)")"
is "how often they are worth it" "$(printf %.2g "$(value vckpt_interval_seconds)")" \
	"$(printf %.2g "$(vckpt interval heat --json | jq .every_s)")"
line() { printf '{"event":"%s","time":%s000000000,"host":"h1","who":"test",%s}\n' "$@"; }
cp "$VCKPT_STORE/clusters/heat/reports" "$TEST_DIR/reports"
line report 1700000010 '"source":"edac","chance":0.5,"within_s":100' >>"$VCKPT_STORE/clusters/heat/reports"
line begin 1700000020 '"action":"checkpoint"' >>"$VCKPT_STORE/clusters/heat/reports"
line end 1700000030 '"action":"checkpoint","state":"done"' >>"$VCKPT_STORE/clusters/heat/reports"
line failed 1700000040 '"text":"x"' >>"$VCKPT_STORE/clusters/heat/reports"
is "more rarely where reports come before failures, as a supervisor takes them" \
	"$(vckpt metrics --no-hosts --json | jq '.[] | select(.name == "vckpt_interval_seconds").value * 100 | round')" \
	"$(vckpt interval heat --json | jq '.answered.every_s * 100 | round')"
cp "$TEST_DIR/reports" "$VCKPT_STORE/clusters/heat/reports"
is "what failed" "$(value vckpt_restarts_total) $(value vckpt_failures_total)" \
	"0 $(vckpt interval heat --json | jq .mtbf.failures)"
is "how far behind a place is" "$(value vckpt_place_epoch) $(($(value vckpt_place_behind_seconds | cut -d. -f1 | cut -de -f1) > 0))" '0 1'
is "how true reports were" "$(grep -c 'vckpt_reports_true_total{cluster=heat,source=.*} 1' "$TEST_DIR/samples")" 2
is "names of sources are what they were" "$(grep -cF 'source=x"y\z' "$TEST_DIR/samples")" 2
is "that it was given up before is over" "$(value vckpt_given_up)" 0
echo "{\"event\":\"stop\",\"time\":1700000003000000000,\"incarnation\":$(value vckpt_incarnation),\"newest\":1}" \
	>>"$VCKPT_STORE/clusters/heat/reports"
is "that it is given up is told" "$(vckpt metrics heat --no-hosts | parsed | grep given_up)" 'vckpt_given_up{cluster=heat} 1'
is "as JSON, too" "$(vckpt metrics heat --no-hosts --json | jq -c '.[] | select(.name == "vckpt_given_up") | [.labels, (.value | floor)]')" \
	'[{"cluster":"heat"},1]'

# Of hosts that are not there.
vckpt metrics --socket "$TEST_DIR/none/s" 2>/dev/null | parsed >"$TEST_DIR/samples"
is "a host that does not answer" "$(grep -c '^vckpt_host_up{.*} 0$' "$TEST_DIR/samples")" 1
is "its guests do not run" "$(grep -c '^vckpt_guest_running{.*state=unknown} 0$' "$TEST_DIR/samples")" 2

# What alerts and dashboard name is told, or is known of where there is more than in this store.
sort -u <(sed 's/{.*//' "$TEST_DIR/samples") <(echo vckpt_host_memory_free_bytes) >"$TEST_DIR/names"
for f in vckpt-alerts.yml vckpt-grafana.json; do
	is "$f asks for nothing else" "$(grep -oE 'vckpt_[a-z_]+' "$top/docs/monitoring/$f" | sort -u | comm -23 - "$TEST_DIR/names")" ''
done
is "the dashboard is JSON, with panels that ask" \
	"$(jq -r '[.panels[].targets[].expr | contains("vckpt_")] | all' "$top/docs/monitoring/vckpt-grafana.json")" true
is "the alerts are YAML, and each says what is wrong" "$(/usr/bin/python3 -c '
import sys, yaml
for r in yaml.safe_load(open(sys.argv[1]))["groups"][0]["rules"]:
    assert r["expr"] and r["labels"]["severity"] and r["annotations"]["summary"], r
print("good")' "$top/docs/monitoring/vckpt-alerts.yml" 2>&1 | tail -n 1)" good

# From a file: whole each time; and again.
refused "a file where none can be" 9 "$TEST_DIR/no/such" metrics --no-hosts --file "$TEST_DIR/no/such"
"$VCKPT_BUILD/vckpt" metrics --no-hosts --file "$TEST_DIR/vckpt.prom" --every 0.1s &
pid=$!
wait_for 20 test -s "$TEST_DIR/vckpt.prom"
is "a file has them" "$(parsed <"$TEST_DIR/vckpt.prom" | grep '^vckpt_up')" 'vckpt_up{cluster=heat} 1'
rm "$TEST_DIR/vckpt.prom"
wait_for 20 test -s "$TEST_DIR/vckpt.prom"
pass "again and again"
kill "$pid"
wait "$pid"
is "until it is stopped" $? 0

"$VCKPT_BUILD/vckpt" metrics --no-hosts --listen 127.0.0.1:0 >"$TEST_DIR/url" &
pid=$!
wait_for 20 test -s "$TEST_DIR/url"
is "by HTTP" "$(http_get "$(cat "$TEST_DIR/url")" | parsed | grep '^vckpt_up')" 'vckpt_up{cluster=heat} 1'
http_get "$(sed 's/metrics/secrets/' "$TEST_DIR/url")" >/dev/null 2>&1
is "nothing else is there" $? 1
rm -rf "${VCKPT_STORE:?}/clusters/heat/epochs"
is "what cannot be read any more is told" "$(http_get "$(cat "$TEST_DIR/url")" | parsed | grep -v store_free)" 'vckpt_up{cluster=heat} 0'
kill "$pid"
wait "$pid"
is "until it is stopped, too" $? 0

for words in '--listen here' '--listen 127.0.0.1:99999' '--listen :80' '--file x --listen 127.0.0.1:0' '--every 5s' '--every 0 --file x'; do
	# shellcheck disable=SC2086
	vckpt metrics $words >"$TEST_DIR/said" 2>&1
	is "'$words' is refused" $? 2
done
finish
