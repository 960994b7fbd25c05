#!/bin/bash
# examples/notices: what a cloud says of a machine becomes a report, once, and is taken back.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
recorded_store
reports=$VCKPT_STORE/clusters/heat/reports
asked=$TEST_DIR/asked
touch "$asked"

# until_true COMMAND...: 20 s at the most.
until_true()
{
	local end=$((SECONDS + 20))
	until "$@"; do
		[ $SECONDS -lt $end ] || { fail "waited for: $*"; kill "$pid"; finish; }
		sleep 0.05
	done
}

# It was asked so often from now on.
asked_more()
{
	[ "$(wc -l <"$asked")" -ge "$1" ]
}

told()
{
	[ -e "$reports" ] && [ "$(wc -l <"$reports")" -ge "$1" ]
}

# expect_reports NAME WANTED: after it was asked three times more.
expect_reports()
{
	local said
	until_true asked_more $(($(wc -l <"$asked") + 3))
	said=$(jq -c '[.event, .host, .source, (.within_s // 0 | floor)]' "$reports" 2>/dev/null | tr '\n' ' ')
	if [ "$said" = "$2" ]; then pass "$1"; else fail "$1" "got '$said', expected '$2'"; fi
}

PATH=$VCKPT_BUILD:$PATH POLL_EVERY=0.1 "$top/examples/notices/poll-notice" localhost spot \
	sh -c "echo >>'$asked'; cat '$TEST_DIR/notice'" &
pid=$!
expect_reports "no notice, no report" ''
echo '120 maintenance' >"$TEST_DIR/notice.new"
mv "$TEST_DIR/notice.new" "$TEST_DIR/notice"
until_true told 1
first='["report","localhost","spot",120] '
expect_reports "a notice is a report, with its time, once" "$first"
rm "$TEST_DIR/notice"
until_true told 2
expect_reports "one that is taken back is taken back" "$first"'["clear","localhost","spot",0] '
kill "$pid"
wait "$pid" 2>/dev/null
says "and shown" 'spot' vckpt report --list heat
finish
