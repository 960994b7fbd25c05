#!/bin/bash
# vckpt top, with the recorded store: once, as JSON, and on a terminal, which is as it was afterwards.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
recorded_store

# on_terminal KEYS ARGUMENT...: vckpt top on a terminal of 24 lines; after three draws KEYS are typed, or it gets
# SIGTERM if there are none.  Prints "STATUS DRAWS", what is left of the terminal's settings, and the last screen.
on_terminal()
{
	/usr/bin/python3 - "$VCKPT_BUILD/vckpt" "$@" <<-'P'
		import fcntl, os, pty, signal, struct, sys, termios
		program, keys, words = sys.argv[1], sys.argv[2], sys.argv[3:]
		pid, fd = pty.fork()
		if pid == 0:
		    os.execv(program, ["vckpt", "top", "--interval", "0.1s"] + words)
		fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", *map(int, os.environ.get("SIZE", "24 40").split()), 0, 0))
		was = termios.tcgetattr(fd)[3]
		said = b""
		asked = False
		while True:
		    try:
		        more = os.read(fd, 65536)
		    except OSError:
		        break
		    if not more:
		        break
		    said += more
		    if said.count(b"\033[H") >= 3 and not asked:
		        asked = True
		        raw = termios.tcgetattr(fd)[3] & termios.ECHO == 0
		        if keys:
		            os.write(fd, keys.encode())
		        else:
		            os.kill(pid, signal.SIGTERM)
		now = termios.tcgetattr(fd)[3]
		status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
		last = said.split(b"\033[H")[-1]
		print(status, "back" if now == was and raw else "changed",
		      "left" if said.count(b"\033[?1049h") == 1 and said.rstrip().endswith(b"\033[?1049l") else "stays")
		print(last.decode().replace("\033[K", "").replace("\r", ""))
	P
}

reports=$VCKPT_STORE/clusters/heat/reports
soon=$((($(date +%s) + 7200) * 1000000000))
printf '{"event":"report","time":%d,"host":"localhost","source":"edac","chance":0.8,"within_s":3600,"text":"many errors"}\n' \
	$((soon - 7200 * 1000000000)) >"$reports"
chmod 600 "$reports"
socket=$TEST_DIR/none/s

said=$(vckpt top --once --socket "$socket" 2>"$TEST_DIR/err")
is "it looks once" "$?: $(cat "$TEST_DIR/err")" '0: '
has() { is "$1" "$(grep -cE -- "$2" <<<"$said")" 1; }
has "with a head" '1 cluster, 0 of 1 hosts up, 0 of 2 guests run'
has "the cluster" "^heat: ended, incarnation [0-9]+, epoch $(vckpt ls heat --json | jq 'map(.epoch) | max') of .* ago, nobody looks after it"
has "its host, that does not answer" '^  localhost +silent '
has "what is said of it" '^    edac says 0\.8 in 59 min.*: many errors'
is "its guests" "$(grep -cE '^    n[12] +unknown' <<<"$said")" 2
is "nothing to steer a terminal" "$(grep -c $'\033' <<<"$said")" 0
json=$(vckpt top heat --once --json --socket "$socket" 2>/dev/null)
is "as JSON" "$(jq -c '.[] | [.cluster, .state, .busy, .supervisor, (.guests | length), .hosts[0].words[0].source, .hosts[0].suspected]' <<<"$json")" \
	'["heat","ended",null,null,2,"edac",true]'

"$VCKPT_BUILD/vckpt" supervise heat --json --look 100ms --socket "$socket" >"$TEST_DIR/supervise" 2>/dev/null &
pid=$!
for ((i = 0; i < 400; i++)); do
	[ ! -s "$TEST_DIR/supervise" ] || break
	sleep 0.05
done
is "who looks after it" "$(vckpt top heat --once --json --socket "$socket" 2>/dev/null | jq '.[0].supervisor.since > 0')" true
kill $pid
wait $pid

said=$(on_terminal q --socket "$socket")
is "q ends it, and the terminal is as it was" "$(head -n 1 <<<"$said")" '0 back left'
is "no line is longer than the screen is wide" "$(tail -n +2 <<<"$said" | grep -v $'\033' | awk 'length > 40' | wc -l)" 0
is "so does SIGTERM" "$(on_terminal '' --socket "$socket" | head -n 1)" '0 back left'
said=$(SIZE="0 0" on_terminal q --socket "$socket")
is "a screen that says no size is none of zero lines" "$(grep -c 'heat: ended' <<<"$said")" 1
echo damaged >"$VCKPT_STORE/clusters/heat/cluster.json"
said=$(vckpt top --once --socket "$socket")
has "a cluster that cannot be read is told" '^heat: unreadable: .*cluster.json'
for words in '--once --interval 3s' '--interval 0' '--interval soon' 'heat other'; do
	# shellcheck disable=SC2086
	vckpt top $words >"$TEST_DIR/said" 2>&1
	is "'$words' is refused" $? 2
done
refused "a store that is not there" 3 "$TEST_DIR/none" top --store "$TEST_DIR/none"
finish
