#!/bin/bash
# What a site has a say in: its hooks on hosts and in guests, file systems that stand still around the cut.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
export VCKPT_HOOKS=$TEST_DIR/hooks

# host_hook KIND NAME SCRIPT
host_hook()
{
	mkdir -p "$VCKPT_HOOKS/$1.d"
	printf '#!/bin/sh\n%s\n' "$3" >"$VCKPT_HOOKS/$1.d/$2"
	chmod 755 "$VCKPT_HOOKS/$1.d/$2"
}

# guest_hook GUEST KIND NAME SCRIPT
guest_hook()
{
	printf '#!/bin/sh\n%s\n' "$4" >"$TEST_DIR/hook"
	"$lab" run "$1" "mkdir -p /etc/vckpt/guest-hooks/$2.d" &&
		"$lab" put "$1" "$TEST_DIR/hook" "/etc/vckpt/guest-hooks/$2.d/$3" &&
		"$lab" run "$1" "chmod 755 /etc/vckpt/guest-hooks/$2.d/$3"
}

# What hooks said of an epoch, one "WHERE KIND/NAME STATUS: TEXT" a line.
said_of()
{
	vckpt show "site@$1" --json | jq -r '.record.hooks[]? | (.guest // .host) + " \(.when)/\(.hook) \(.status): \(.said)"'
}

hooks()
{
	# shellcheck disable=SC2016 # the hook's own
	host_hook pre-checkpoint 10-host 'echo $VCKPT_CLUSTER $VCKPT_EPOCH $VCKPT_INCARNATION'
	# shellcheck disable=SC2016
	host_hook post-checkpoint 10-host 'echo $VCKPT_RESULT'
	# shellcheck disable=SC2016
	host_hook post-restart 10-host 'echo $VCKPT_RESULT from $VCKPT_EPOCH as $VCKPT_INCARNATION'
	# shellcheck disable=SC2016
	guest_hook n1 pre-checkpoint 10-guest 'echo in $VCKPT_GUEST; sleep 0.3; true'
	guest_hook n1 post-checkpoint 10-guest 'echo bad >&2; exit 4'
	expect_ok "a checkpoint with hooks" vckpt checkpoint site
	expect_eq "what they said is in the record" "$(said_of 1)" "h1 pre-checkpoint/10-host 0: site 1 0
n1 pre-checkpoint/10-guest 0: in n1
n1 post-checkpoint/10-guest 4: bad
h1 post-checkpoint/10-host 0: committed"
	expect_match "and shown" "$(vckpt show site@1)" '^  hook pre-checkpoint/10-guest, n1: status 0 in .*: in n1$'
	expect_match "what failed is in the log" "$(vckpt log site)" '^  hook post-checkpoint/10-guest, n1: status 4 in .*: bad$'
	expect_eq "the catalogue has those before the commit" \
		"$(jq '[.. | .hooks? // empty][0] | length' "$VCKPT_STORE"/clusters/site/epochs/*1*)" 2

	host_hook pre-checkpoint 20-no 'echo the licence server is down; exit 1'
	said=$(vckpt checkpoint site 2>&1)
	expect_eq "a hook that fails refuses the checkpoint" $? 7
	expect_match "with what it said" "$said" 'hook 20-no ended with status 1: the licence server is down'
	expect_eq "nothing was prepared" "$(vckpt log site --json | jq -r '.[-1] | .state + " \(.stall_ms)"')" "failed null"
	expect_eq "nor committed" "$(vckpt ls site --json | jq length)" 1
	expect_ok "unless it is told to go on" vckpt checkpoint site --hooks=go-on
	rm "$VCKPT_HOOKS/pre-checkpoint.d/20-no"

	guest_hook n2 pre-checkpoint 10-slow 'sleep 100 & echo $! >/run/slow; wait'
	printf '[hooks]\nlimit = 1\n' >"$TEST_DIR/conf"
	said=$(VCKPT_CONFIG=$TEST_DIR/conf vckpt checkpoint site 2>&1)
	expect_eq "so does one that runs out of time" $? 7
	expect_match "which is named" "$said" 'guest n2: hook 10-slow was not done in time'
	# shellcheck disable=SC2016
	expect_fail "and its children are gone" "$lab" run n2 'kill -0 $(cat /run/slow)'
	"$lab" run n2 'chmod 777 /etc/vckpt/guest-hooks/pre-checkpoint.d/10-slow'
	expect_match "a file that others may write is not run" "$(vckpt checkpoint site 2>&1)" 'chmod go-w'
	"$lab" run n2 'rm -r /etc/vckpt'
	expect_ok "nobody is left held" guests_free
	kill_guest n1 n2
	expect_ok "a restart" vckpt restart site@1
	expect_eq "runs hooks, too" "$(vckpt log site --json | jq -r '.[-1].hooks[] | (.guest // .host) + " \(.when): " + .said')" \
		"h1 post-restart: running from 1 as 1"
	rm -r "$VCKPT_HOOKS"
	"$lab" run n1 'rm -r /etc/vckpt'
}

newest()
{
	vckpt ls site --json | jq '.[-1].epoch'
}

# ---- frozen file systems ----

# How much the writer in n1 has written: 0 before its first line, and while it makes the file anew.
lines()
{
	local n
	n=$(LAB_TIMEOUT=10 "$lab" run n1 'cat /run/lines 2>/dev/null') || :
	echo "${n:-0}"
}

beyond()
{
	[ "$(lines)" -gt "$1" ]
}

writes()
{
	wait_until "${1:-5}" beyond $(($(lines) + 5))
}

# Frozen: it was at it, and does not get further.
stands()
{
	local n
	n=$(lines)
	sleep 0.5
	[ "$(lines)" -le $((n + 1)) ]
}

# journal EPOCH: does the disk as it was frozen need its journal?
journal()
{
	qemu-img convert -O raw "$(vckpt show "site@$1" --json | jq -r '.guests[0].disks[0].layers[0].path')" \
		"$TEST_DIR/raw" && dumpe2fs -h "$TEST_DIR/raw" 2>/dev/null | grep -c needs_recovery
}

# in_guest SIGNAL WHOM: the agent (of vckpt-agent's processes the oldest), its freezer, its keeper.
in_guest()
{
	local pick
	case $2 in
	agent) pick='grep -v keeper | head -n 1' ;;
	freezer) pick='grep -v keeper | tail -n 1' ;;
	both) pick='grep -v keeper' ;;
	all) pick=cat ;;
	esac
	"$lab" run n1 "kill -$1 \$(for p in \$(pidof vckpt-agent); do echo \$p \$(cat /proc/\$p/comm); done | sort -n | $pick | cut -d ' ' -f 1)"
}

# frozen_and_killed NAME WHOM [no-successor]: the guests are held and n1 is frozen, the coordinator stands still.
frozen_and_killed()
{
	# Not by its network card, which we need to look.
	vckpt_stopped stop checkpoint site --freeze-fs --gate socket || return
	expect_ok "the writer stands still" stands
	[ $# -lt 3 ] || "$lab" run n1 'chmod 644 /usr/sbin/vckpt-agent'
	in_guest KILL "$2"
	expect_ok "$1" writes 5
	[ $# -lt 3 ] || "$lab" run n1 'chmod 755 /usr/sbin/vckpt-agent'
	vckpt_signal KILL
	wait "$vckpt_job" 2>/dev/null
	expect_ok "and all are free" wait_until 20 guests_free
}

# Also when nobody of them dies but all stand still, whom the keeper does not wait for. In time for a test.
frozen_and_stopped()
{
	printf '[deadlines]\npause = 1\ncut = 1\nrun = 1\nrelease = 1\n' >"$TEST_DIR/conf"
	VCKPT_CONFIG=$TEST_DIR/conf vckpt_stopped stop checkpoint site --freeze-fs --gate socket || return
	in_guest STOP both
	expect_ok "agent and child are stopped, and the writer stands still" stands
	expect_ok "until the hold expires, and the keeper thaws" writes 60
	in_guest CONT agent
	vckpt_signal KILL
	wait "$vckpt_job" 2>/dev/null
	expect_ok "and all are free" wait_until 20 guests_free
}

freezing()
{
	"$lab" run n1 'mkdir /data && mount -t ext4 /dev/vda /data && cd /data && job start writer sh -c "n=0
		while :; do echo \$n >>/data/log; n=\$((n + 1)); echo \$n >/run/lines; done"' || give_up "no writer"
	expect_ok "a program writes to its disk" writes
	expect_ok "a checkpoint" vckpt checkpoint site
	expect_eq "in which the disk needs its journal" "$(journal "$(newest)")" 1
	expect_ok "a checkpoint that freezes" vckpt checkpoint site --freeze-fs
	clean=$(newest)
	expect_eq "in which it does not" "$(journal "$clean")" 0
	expect_match "what was frozen is shown" "$(vckpt show site@$clean)" '^  frozen: n1: /data$'
	expect_match "and what was not" "$(vckpt show site@$clean)" '^  not frozen: n2: there are no local file systems$'
	expect_ok "the program writes on" writes
	expect_eq "without a hold nothing can be frozen" "$(vckpt checkpoint site --freeze-fs --drain none 2>&1 | grep -c 'let them hold')" 1

	frozen_and_killed "the agent dies, and its child thaws" agent
	frozen_and_killed "the child dies, and the agent thaws" freezer
	frozen_and_killed "both die, and the keeper thaws" both no-successor
	frozen_and_killed "all die, and the next agent thaws" all
	frozen_and_stopped

	kill_guest n1 n2
	expect_ok "a restart from where it was frozen" vckpt restart "site@$clean"
	expect_ok "and the program writes on" writes
	"$lab" run n1 'killall sh; umount /data' 2>/dev/null
}

# ---- what the cut does not contain, and output on a server that is cut back ----

export_dir=$TEST_DIR/export

# A server of the host's own: the guest's kernel finds it again after a restart, as it would any.
server_start()
{
	mkdir "$export_dir"
	cat >"$TEST_DIR/ganesha.conf" <<X
NFS_CORE_PARAM { Protocols = 3; NFS_Port = 2049; MNT_Port = 2050; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false; }
NFS_KRB5 { Active_krb5 = false; }
NFSV4 { Graceless = true; RecoveryRoot = $TEST_DIR; }
EXPORT { Export_Id = 1; Path = $export_dir; Pseudo = /export; Access_Type = RW; Squash = No_Root_Squash;
	SecType = sys; Protocols = 3; Transports = TCP; FSAL { Name = VFS; } }
X
	"$lab" exec h1 sh -c 'rpcbind -w; mkdir -p /run/ganesha; exec ganesha.nfsd -f "$0/ganesha.conf" -L "$0/ganesha.log" -p /run/ganesha.pid' \
		"$TEST_DIR" </dev/null >/dev/null 2>&1
	wait_until 20 "$lab" exec h1 sh -c 'ss -ltn | grep -q ":2050 "' ||
		give_up "no server of files: $(tail -n 5 "$TEST_DIR/ganesha.log")"
}

mounted()
{
	local m kernel
	kernel=$("$lab" run n1 'uname -r')
	for m in $(modprobe -S "$kernel" --show-depends nfsv3 | awk '$1 == "insmod" {print $2}'); do
		case $m in
		*.xz) xz -dc "$m" ;;
		*.zst) zstd -dcq "$m" ;;
		*) cat "$m" ;;
		esac >"$TEST_DIR/module"
		"$lab" put n1 "$TEST_DIR/module" /run/module && "$lab" run n1 'insmod /run/module' || return 1
	done
	"$lab" run n1 "mkdir /net && mount -t nfs -o addr=10.99.0.201,vers=3,proto=tcp,port=2049,mountport=2050,mountproto=tcp,nolock,timeo=10 \
		10.99.0.201:$export_dir /net"
}

# Lines that have come to the server.
arrived()
{
	[ "$(wc -l <"$export_dir/out")" -ge "$1" ]
}

# The job says when it has come to its end, by the number of its lines.
job_of_lines()
{
	"$lab" run n1 'job start lines sh -c "n=0; while [ ! -e /run/stop ]; do n=\$((n + 1)); echo line \$n
		[ \$((n % 10)) -gt 0 ] || sync -d /proc/self/fd/1 2>/dev/null || sync; usleep 20000; done >>/net/out; echo \$n >/run/total"'
}

# A connection of n2 to somebody outside, who keeps it. At the end of its input nc would shut its side.
connected()
{
	"$lab" run n2 'job start talk "sleep 1000 | nc 10.99.0.201 2049"'
	expect_ok "n2 talks to somebody outside" wait_until 20 "$lab" run n2 "netstat -tn | grep -q '10.99.0.201:2049 *ESTABLISHED'"
}

# An address for some minutes, as a DHCP client sets it: busybox cannot, this machine's own ip can.
lend()
{
	"$lab" run n2 'LD_LIBRARY_PATH=/run/ip /run/ip/ip addr change 10.98.0.2/24 dev eth0 valid_lft 600 preferred_lft 600'
}

# n2's clock is an hour late: when it comes back it has been away as long.
lent()
{
	local f
	for f in "$(command -v ip)" $(ldd "$(command -v ip)" | grep -oE '/[^ ]+'); do
		"$lab" put n2 "$f" "/run/ip/${f##*/}" || give_up "$f cannot be put into n2"
	done
	expect_ok "an address of n2 is leased" lend
	expect_match "which doctor notes" "$(vckpt doctor site)" '^note +n2 10\.98\.0\.2: its lease runs out in [0-9]+ s'
	"$lab" run n2 "date -s @$(($(date +%s) - 3600)) >/dev/null"
}

outside()
{
	server_start
	mounted || give_up "the guest cannot mount the server's folder"
	job_of_lines && wait_until 20 arrived 30 || give_up "nothing comes to the server"
	expect_match "doctor names the file" "$(vckpt doctor site)" '^warn +n1 pid [0-9]+ \(sh\): /net/out on nfs is open for appending'
	said=$(vckpt checkpoint site --refuse=network-file 2>&1)
	expect_eq "a checkpoint that is to have all is refused" $? 7
	expect_match "with the file and the way on" "$said" 'n1: pid [0-9]+ \(sh\): /net/out .*--warn=network-file'
	connected
	said=$(vckpt checkpoint site --refuse=all --warn=network-file,host-device 2>&1)
	expect_eq "so it is for a connection that leaves the cluster" $? 7
	expect_match "which is named" "$said" 'n2: pid [0-9]+ \(nc\): a connection to 10\.99\.0\.201:2049 leaves the cluster.*--warn=outside-connection'
	"$lab" run n2 'job kill talk'
	said=$(vckpt checkpoint site --refuse=host-device 2>&1)
	expect_eq "so it is for a USB device of the host" $? 7
	expect_match "which is named, too" "$said" 'n2: USB device dead:beef: the host.s.*--warn=host-device'
	expect_match "by doctor as well" "$(vckpt doctor site)" '^warn +n2 USB device dead:beef: the host.s, given to the guest'
	lent
	expect_ok "by default it only warns" vckpt checkpoint site
	e=$(newest)
	expect_match "and shows it" "$(vckpt show "site@$e")" '^  not in the cut: n1 pid [0-9]+ \(sh\): /net/out'
	expect_match "with the device" "$(vckpt show "site@$e")" '^  not in the cut: n2 USB device dead:beef'
	expect_match "with the length" "$(vckpt show "site@$e")" '^    n1: pid [0-9]+ appends to /net/out, [1-9][0-9]+ bytes long'
	expect_ok "the job goes on" wait_until 20 arrived $(($(wc -l <"$export_dir/out") + 60))

	kill_guest n1 n2
	was=$(stat -c %s "$export_dir/out")
	cp "$export_dir/out" "$TEST_DIR/out.was"
	said=$(vckpt restart "site@$e" --rewind-appends 2>&1)
	expect_match "a restart cuts it back" "$said" "/net/out is cut back from $was to [0-9]+ bytes; the rest is in /net/out.vckpt-$e-"
	cut=$(sed -n 's/.* to \([0-9]*\) bytes; the rest.*/\1/p' <<<"$said")
	expect_eq "which the history keeps" "$(vckpt log site --json | jq -r '.[-1].rewound[] | "\(.path) \(.was) \(.length)"')" \
		"/net/out $was $cut"
	expect_ok "what was cut away is there" cmp <(tail -c +$((cut + 1)) "$TEST_DIR/out.was") "$export_dir"/out.vckpt-"$e"-*
	expect_match "a lease that ran out is told" "$said" 'n2.*lease of 10\.98\.0\.2 ran out meanwhile'
	expect_match "by doctor, too" "$(vckpt doctor site)" '^warn +n2 10\.98\.0\.2: its lease ran out while the guest was away for [0-9]{4} s'
	refusal=$(vckpt checkpoint site --refuse=address-lease 2>&1)
	expect_eq "and is a reason to refuse" $? 7
	expect_match "with the cure" "$refusal" 'n2: 10\.98\.0\.2: its lease ran out .*have it renewed.*--warn=address-lease'
	lend
	expect_ok "until it is renewed" vckpt checkpoint site --refuse=address-lease
	"$lab" run n2 'ip addr del 10.98.0.2/24 dev eth0'
	expect_ok "the job goes on from there" wait_until 60 arrived $(($(wc -l <"$TEST_DIR/out.was") + 20))
	"$lab" run n1 'touch /run/stop'
	expect_ok "to its end" wait_until 30 "$lab" run n1 '[ -e /run/total ]'
	"$lab" run n1 'umount /net'
	expect_ok "its output is that of one that was never interrupted" \
		cmp <(seq -f 'line %.0f' "$("$lab" run n1 'cat /run/total')") "$export_dir/out"
}

# ---- a vckptd that systemd starts (Type=notify) is told of when it can be asked ----

notifies()
{
	expect_eq "who started vckptd is told when it can be asked" "$("$lab" exec h1 "$VCKPT_BUILD/run" python3 - "$VCKPT_BUILD/vckptd" "$TEST_DIR" 2>&1 <<'Y'
import os, socket, subprocess, sys
folder = sys.argv[2] + "/notified"
os.mkdir(folder)
heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
heard.bind(folder + "/notify")
heard.settimeout(60)
daemon = subprocess.Popen([sys.argv[1], "--foreground", "--socket", folder + "/socket"], stderr=subprocess.DEVNULL,
                          env={**os.environ, "NOTIFY_SOCKET": folder + "/notify"})
try:
    print(heard.recv(64).decode())
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(folder + "/socket")
finally:
    daemon.terminate()
    print(daemon.wait())
Y
	)" $'READY=1\n0'
}

mkdir "$TEST_DIR/images"
truncate -s 64M "$TEST_DIR/images/a.img"
mke2fs -q -t ext4 "$TEST_DIR/images/a.img" || give_up "no file system"
image_ready
guests=(n1 n2)
"$lab" up --owner $$ --scratch "$TEST_DIR" ${VCKPT_TEST_CACHE:+--cache "$VCKPT_TEST_CACHE"} || give_up "no lab"
"$lab" define h1 n1 1 --disk "$TEST_DIR/images/a.img" && "$lab" define h1 n2 2 || give_up "no guests"
# A kernel without USB (of a machine in a cloud) has no list of devices, for which libvirt asks: an empty one.
"$lab" exec h1 sh -ec '[ -d /sys/bus/usb/devices ] || {
	mkdir /run/bus; mount --rbind /sys/bus /run/bus; mount -t tmpfs bus /sys/bus; mkdir -p /sys/bus/usb/devices
	for b in /run/bus/*; do mkdir /sys/bus/${b##*/}; mount --rbind $b /sys/bus/${b##*/}; done; }' || give_up "no list of USB devices"
# One that is not plugged in at the moment: libvirt starts the guest without.
sed -i "s|<controller type='usb' model='none'/>|<controller type='usb' model='piix3-uhci'/>\\
	<hostdev mode='subsystem' type='usb'><source startupPolicy='optional'><vendor id='0xdead'/><product id='0xbeef'/></source></hostdev>|" \
	"$LAB_DIR/guests/n2/domain.xml"
"$lab" exec h1 virsh -q define "$LAB_DIR/guests/n2/domain.xml" && "$lab" boot n1 n2 || give_up "no guests"
expect_ok "domains are adopted" vckpt adopt site n1 n2
notifies
hooks
outside
freezing
finish
