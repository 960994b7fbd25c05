#!/bin/bash
# What vckpt tells the journal, read back from a real systemd-journald in namespaces of its own.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
recorded_store
cat >"$TEST_DIR/inside" <<'X'
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && echo 0123456789abcdef0123456789abcdef >"$1/machine-id" &&
	mount --bind "$1/machine-id" /etc/machine-id || exit 1
/lib/systemd/systemd-journald >"$1/journald" 2>&1 &
journald=$!
for ((i = 0; i < 400; i++)); do [ ! -S /run/systemd/journal/socket ] || break; sleep 0.05; done
"$VCKPT_BUILD/vckpt" kill heat --socket "$1/none/s" 2>"$1/kill"
"$VCKPT_BUILD/vckpt" supervise heat --look 50ms --every 1h --socket "$1/none/s" >"$1/said" 2>/dev/null &
for ((i = 0; i < 400; i++)); do [ ! -s "$1/said" ] || break; sleep 0.05; done
kill $!
wait $!
for ((i = 0; i < 400; i++)); do
	journalctl -D /run/log/journal -o json --no-pager VCKPT_CLUSTER=heat >"$1/entries" 2>/dev/null
	[ "$(wc -l <"$1/entries")" -lt 2 ] || break
	sleep 0.05
done
kill $journald
exit 0
X
unshare -m -p -f -u --mount-proc bash "$TEST_DIR/inside" "$TEST_DIR" 2>"$TEST_DIR/err"
is "journald has entries" "$?: $(cat "$TEST_DIR/err")" '0: '
# of ID FIELD...: those fields of the first entry with that MESSAGE_ID.
of()
{
	local id=$1
	shift
	jq -rs --arg id "$id" --args 'map(select(.MESSAGE_ID == $id))[0] | [.[$ARGS.positional[]]] | map(. // "-") | join("|")' "$@" <"$TEST_DIR/entries"
}
is "a deed, which failed here" "$(of 1b7ef55ba5e14538815a1e5d1f87b130 VCKPT_CLUSTER VCKPT_ACTION VCKPT_STATE PRIORITY SYSLOG_IDENTIFIER)" \
	'heat|kill|failed|3|vckpt'
is "a decision" "$(of 447dffe463634436902765e35d376ede VCKPT_ACTION VCKPT_WHY PRIORITY MESSAGE)" \
	'wait|the cluster is not meant to run|6|cluster heat: wait: the cluster is not meant to run'
is "who has done it" "$(of 447dffe463634436902765e35d376ede VCKPT_WHO | grep -c supervise)" 1
finish
