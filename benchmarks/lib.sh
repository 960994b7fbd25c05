# shellcheck shell=bash
# lib.sh: what the benchmarks share, on top of the helpers of the tests with real parts.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "${BASH_SOURCE[0]}")/../tests/real/vckpt.sh"

json=/dev/null short=0

# note JSON: one raw result.
note()
{
	printf '%s\n' "$1" >>"$json"
}

stop_with()
{
	echo "$test_name: $1" >&2
	dump_logs >&2
	exit 2
}
give_up() { stop_with "$1"; }

say()
{
	printf -- '-- %s (%d s)\n' "$*" $((SECONDS - test_begin))
}

# What the figures were made on.
machine()
{
	local cpu
	cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
	echo "machine: $(nproc) cores, $cpu, kernel $(uname -r), guests by $(cat "$LAB_DIR/accel")"
	echo "load before: $(cut -d ' ' -f 1-3 /proc/loadavg); $(date -u +%F)"
}

# ---- numbers ----

# median, worst, total: of the numbers on the standard input; "-" if there are none.
median()
{
	sort -g | awk '{v[NR] = $1} END {
		if (!NR) print "-"
		else printf "%.6g\n", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

worst()
{
	sort -g | awk '{v = $1} END {if (NR) printf "%.6g\n", v; else print "-"}'
}

total()
{
	awk '{v += $1} END {printf "%.6g\n", v}'
}

# calc EXPRESSION
calc()
{
	awk "BEGIN {printf \"%.6f\\n\", $1}"
}

# interval: from lines "RATIO" their Hodges-Lehmann estimate (the median of all pairs' means, of the logarithms) and its
# 95 % interval by Wilcoxon's signed ranks: n, estimate, low, high.  It asks of the noise only that it has no side,
# and uses more of the numbers than a plain median does.
interval()
{
	awk '{v[NR] = log($1)} END {
		m = NR * (NR + 1) / 2
		k = int(m / 2 - 1.959964 * sqrt(NR * (NR + 1) * (2 * NR + 1) / 24))
		print NR, m, k
		for (i = 1; i <= NR; i++) for (j = i; j <= NR; j++) printf "%.8f\n", (v[i] + v[j]) / 2}' | {
		read -r n m k
		[ "$n" -ge 6 ] || { echo "- - - -" && return; }
		sort -g | awk -v n="$n" -v m="$m" -v k="$k" '
			NR == (k < 1 ? 1 : k) {low = $1}
			NR == int((m + 1) / 2) {mid = $1}
			NR == int(m / 2) + 1 {mid = (mid + $1) / 2}
			NR == (k < 1 ? m : m + 1 - k) {high = $1}
			END {printf "%d %.6f %.6f %.6f\n", n, exp(mid), exp(low), exp(high)}'
	}
}

# figure NAME VALUE UNIT most|least BOUND: a line of the result; one that is short makes the end fail.
figure()
{
	local how=short
	if awk -v v="$2" -v b="$5" -v k="$4" 'BEGIN {exit !(v != "-" && b != "-" && (k == "most" ? v + 0 <= b + 0 : v + 0 >= b + 0))}'; then
		how=ok
	else
		short=$((short + 1))
	fi
	echo "figure $1 $2 $3 bound $5 $how"
	note "$(jq -nc --arg n "$1" --arg v "$2" --arg u "$3" --arg b "$5" --arg k "$4" --arg h $how \
		'{figure: $n, value: $v, unit: $u, bound: $b, at: $k, result: $h}')"
}

# ---- the job, seen by this machine's clock ----

# beats_start: before lab_start; guests get "--beat" in $beat_options.
beats_start()
{
	cc -std=gnu17 -D_GNU_SOURCE -O1 -o "$TEST_DIR/beats" "$top_src/benchmarks/beats.c" ||
		stop_with "beats.c does not build"
	mkfifo "$TEST_DIR/beat"
	: >"$TEST_DIR/beats.txt"
	"$TEST_DIR/beats" "$TEST_DIR/beat" "$TEST_DIR/beats.txt" </dev/null >/dev/null &
	beats_pid=$!
	disown
}

now()
{
	echo "$EPOCHREALTIME"
}

# gap FROM TO: the longest time, in ms, between two steps of the job around those two moments.
gap()
{
	awk -v from="$1" -v to="$2" '
		$1 < from {before = $1; next}
		before && $1 - before > most {most = $1 - before}
		{before = $1}
		$1 > to {exit}
		END {if (before && before > to) printf "%.3f\n", most * 1000; else print "-"}' "$TEST_DIR/beats.txt"
}

# steps FROM TO: steps per second between two moments.
pace()
{
	awk -v from="$1" -v to="$2" '
		$1 >= from && $1 <= to {n += $2}
		END {printf "%.1f\n", n / (to - from)}' "$TEST_DIR/beats.txt"
}

# beating [SECONDS]: until a step ends after this moment.
beating()
{
	local from
	from=$(now)
	beat_after() { [ "$(tail -n 1 "$TEST_DIR/beats.txt" | awk -v t="$from" '{print ($1 > t)}')" = 1 ]; }
	wait_until "${1:-60}" beat_after
}

# ---- several hosts ----

# The programs as they are installed, in $bin: libtool's wrappers around them take tens of milliseconds to start.  And
# the way into a host, as $TEST_DIR/enter HOST COMMAND...: the lab's own script looks many things up first.
installed_programs()
{
	bin=$VCKPT_BUILD/.libs
	[ -x "$bin/vckpt" ] && [ -x "$bin/vckptd" ] || stop_with "no programs in $bin"
	export LD_LIBRARY_PATH=$bin VCKPT_DAEMON=$bin/vckptd
	cat >"$TEST_DIR/enter" <<X
#!/bin/sh
read -r pid rest <"$LAB_DIR/hosts/\$1/pid"
shift
LIBVIRT_DEFAULT_URI=qemu:///system exec nsenter -t "\$pid" -p -n -m -u -r -w -- "\$@"
X
	chmod +x "$TEST_DIR/enter"
}

# How a host's libvirtd is reached from another.
peer()
{
	echo "qemu+unix:///system?socket=$LAB_DIR/hosts/$1/run/libvirt/libvirt-sock"
}

# name_hosts HOST...: their names are known in all of them, so that migrations go over the link.
name_hosts()
{
	local h
	for h in "$@"; do echo "10.99.0.20${h#h} $h"; done >"$TEST_DIR/names"
	for h in "$@"; do
		"$lab" exec $h sh -c 'cat /etc/hosts "$1" >"$2" && mount --bind "$2" /etc/hosts' - "$TEST_DIR/names" "$TEST_DIR/hosts-of-$h" ||
			stop_with "no names in $h"
	done
}

# link_rate FROM TO: bytes a second that a bare TCP connection gets through.
link_rate()
{
	local begin end size=$((64 << 20)) sink
	"$lab" exec "$2" perl -MIO::Socket::INET -e '
		my $l = IO::Socket::INET->new(Listen => 1, LocalPort => 7999, ReuseAddr => 1) or die "no port: $!";
		my $c = $l->accept; my $n = 0; while (my $r = sysread $c, my $b, 1 << 20) { $n += $r } syswrite $c, $n' &
	sink=$!
	begin=$(now)
	"$lab" exec "$1" perl -MIO::Socket::INET -e '
		my ($to, $left) = @ARGV; my $c;
		until ($c = IO::Socket::INET->new(PeerAddr => $to, PeerPort => 7999)) { select undef, undef, undef, 0.01 }
		my $b = "x" x (1 << 20);
		while ($left > 0) { my $n = syswrite($c, $b, $left < length $b ? $left : length $b) // die; $left -= $n }
		$c->shutdown(1); sysread $c, $b, 20' "$2" $size || stop_with "the link cannot be measured"
	end=$(now)
	wait $sink
	calc "$size / ($end - $begin)"
}

bench_cleanup()
{
	[ -z "${beats_pid-}" ] || kill "$beats_pid" 2>/dev/null
	cleanup
}
trap bench_cleanup EXIT
