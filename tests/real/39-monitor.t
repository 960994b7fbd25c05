#!/bin/bash
# A host that listens to itself.  What libvirt tells of a guest (a full disk, a watchdog that fires, memory that fails, a
# kernel that panics) becomes reports; a guest that began anew is restarted with its job; and when the host is shut down,
# by a real logind, its guests leave it first: to another host, running, or into the store.
# shellcheck disable=SC2016 # scripts for other shells
# shellcheck source=tests/real/hosts.sh
. "$(dirname "$0")/hosts.sh"
migrations_configured
heat_pause=20

declare -A monitors=()
supervisor=
trap 'stop_all; cleanup' EXIT

stop_all()
{
	local h
	for h in "${!monitors[@]}"; do
		stop_monitor "$h"
	done
	[ -z "$supervisor" ] || { kill "$supervisor" 2>/dev/null; wait "$supervisor" 2>/dev/null; }
	supervisor=
}

# monitor HOST: begins there, and listens when this returns.  Other hosts are reached by the sockets of their vckptds.
monitor()
{
	: >"$TEST_DIR/events.$1.log"
	"$lab" exec "$1" env -u VCKPT_SOCKET VCKPT_LAUNCHER="$TEST_DIR/from {host}" DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket \
		"$VCKPT_BUILD/run" "$VCKPT_BUILD/vckpt" monitor --host "$1" --for libvirt,shutdown --json --look 300ms \
		>>"$TEST_DIR/events.$1.log" 2>>"$TEST_DIR/monitor.$1.log" &
	monitors[$1]=$!
	wait_until 60 heard "$1" '.event == "listens" and .to == "libvirt" and .good' &&
		wait_until 60 heard "$1" '.event == "listens" and .to == "shutdown"' ||
		give_up "the monitor of $1 does not listen: $(cat "$TEST_DIR"/*."$1".log)"
}

# As systemd would end it.
stop_monitor()
{
	local p=${monitors[$1]}
	unset "monitors[$1]"
	"$lab" exec "$1" pkill -TERM -f 'vckpt monitor'
	wait "$p"
}

# heard HOST CONDITION: has its monitor told of such an event?
heard()
{
	[ -n "$(jq -R "fromjson? | select($2) | 1" "$TEST_DIR/events.$1.log")" ]
}

# expect_heard NAME HOST CONDITION
expect_heard()
{
	wait_until 60 heard "$2" "$3" && pass "$1" || fail "$1" "$(tail "$TEST_DIR"/*."$2".log)"
}

# The host that the monitor of h1 speaks to.
cat >"$TEST_DIR/from" <<X
#!/bin/sh
exec $VCKPT_BUILD/run vckptd --stdio --socket $LAB_DIR/hosts/\$1/run/vckpt/vckptd.sock
X
chmod +x "$TEST_DIR/from"

# ---- guests with a panic device, or a watchdog and a disk that will be full; both begin anew when they are reset ----

lab_defined 3 2
guests=(n1 n2)
"$lab" exec h1 sh -ec 'mkdir /run/small && mount -t tmpfs -o size=3m small /run/small && qemu-img create -q -f qcow2 /run/small/disk 32M'
# devices GUEST XML: these, too.
devices()
{
	"$lab" exec h1 sh -ec 'virsh dumpxml "$0" | sed "s,<on_reboot>destroy,<on_reboot>restart,; s,</devices>,$1</devices>," >/run/new.xml
		virsh define /run/new.xml' "$1" "$2" >/dev/null || give_up "$1 cannot be defined"
}
devices n1 "<panic model='isa'/>"
devices n3 "<watchdog model='ib700' action='reset'/><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
<source file='/run/small/disk'/><target dev='vda' bus='virtio'/></disk>"
"$lab" boot n1 n2 n3 || give_up "the guests do not boot"
for h in h1 h2; do
	mkdir -p "$LAB_DIR/hosts/$h/run/systemd/logind.conf.d"
	printf '[Login]\nInhibitDelayMaxSec=20min\n' >"$LAB_DIR/hosts/$h/run/systemd/logind.conf.d/long.conf"
	"$lab" exec $h "$top_src/tests/lab/logind" "$TEST_DIR/logind-$h" || give_up "no logind on $h"
	serve_on $h
done
expect_ok "domains of two hosts are adopted" vckpt adopt heat h1:n1 h2:n2
expect_ok "and one more" vckpt adopt odd h1:n3
monitor h1
monitor h2

# ---- what libvirt tells ----

"$lab" put n3 "$VCKPT_BUILD/tests/lab/outb" /usr/bin/outb
"$lab" run n3 'chmod 755 /usr/bin/outb; dd if=/dev/urandom of=/dev/vda bs=64k count=256 conv=fsync >/dev/null 2>&1 &'
expect_heard "a disk that is full is a word on the host" h1 \
	'.cluster == "odd" and .host == "h1" and .source == "libvirt:io-error" and (.text | test("n3: I/O error, enospc on /run/small/disk"))'
expect_match "which stands" "$(vckpt report --list odd)" 'host h1, says libvirt:io-error: 50 % sure'
expect_eq "the cluster without that disk is not told" "$(vckpt report --list heat --json | jq -c .open)" '[]'
"$lab" exec h1 sh -c 'mount -o remount,size=60m /run/small; virsh resume n3' >/dev/null
expect_ok "the guest runs again" wait_until 60 is_on h1 n3

"$lab" run n3 '(sleep 0.5; outb 0x443 0xf) >/dev/null 2>&1 &' # 0 seconds are left
expect_heard "a watchdog that resets its guest: it failed" h1 \
	'.cluster == "odd" and .guest == "n3" and .kind == "failed" and .text == "its watchdog fired (reset)" and .incarnation == 0'
"$lab" exec h1 virsh qemu-monitor-command n3 --hmp 'mce 0 4 0xb200000000000000 0x5 0 0' >/dev/null
expect_heard "memory that fails is a word on the host, to all who are there" h1 \
	'.cluster == "heat" and .host == "h1" and .source == "libvirt:memory" and .chance == 0.9 and (.text | test("n3: memory of the guest failed .the guest is reset"))'
vckpt report h1 --clear -q
"$lab" exec h1 virsh destroy n3 >/dev/null # it is not needed any more, and the processors are

# ---- a guest that begins anew, and runs without its part of the job ----

job_start "--host n1:2,n2:2 heat2d $(heat_args)"
job_wait_step "$(heat_steps 80)" || give_up "the job does not start: $(job_output)"
"$VCKPT_BUILD/run" "$VCKPT_BUILD/vckpt" supervise heat --json --look 300ms --every 1h >"$TEST_DIR/supervised.log" 2>"$TEST_DIR/supervise.log" &
supervisor=$!
wait_until 60 eval '[ -n "$(epochs)" ]' || give_up "no checkpoint: $(cat "$TEST_DIR/supervise".*)"
"$lab" exec h1 virsh reset n1 >/dev/null
expect_heard "a guest that is reset failed" h1 '.cluster == "heat" and .guest == "n1" and .kind == "failed"'
wait_until 60 grep -q '"restart".*"good": *true' "$TEST_DIR/supervised.log" &&
	pass "its supervisor restarts the job" || fail "its supervisor restarts the job" "$(tail "$TEST_DIR"/supervise*.log)"
expect_match "and says why" "$(vckpt log heat; cat "$VCKPT_STORE/clusters/heat/reports")" 'guest n1 failed: it began anew'
heat_moves "the job goes on"

# ---- the host is shut down ----

# power_off HOST
power_off()
{
	"$lab" exec "$1" busctl --system call org.freedesktop.login1 /org/freedesktop/login1 \
		org.freedesktop.login1.Manager PowerOff b false >/dev/null
}

power_off h1 || fail "logind is told to switch the machine off"
wait_until 120 grep -qx poweroff.target "$TEST_DIR/logind-h1/started" || fail "logind goes on" "$(tail "$TEST_DIR"/*.h1.log)"
heard h1 '.event == "listens" and .to == "shutdown" and .good' || fail "logind waited for the monitor of h1"
expect_ok "when it is, its guests have left" eval 'only_on n1 h2 && only_on n2 h2'
heat_moves "and the job runs on"
expect_eq "once" "$(vckpt log heat | grep -c 'evacuate')" 1
stop_monitor h1
expect_match "and the word came true" "$(vckpt report --list heat)" '^shutdown: 1 came true, 0 false alarms'

power_off h2 || fail "logind is told to switch the machine off"
wait_until 120 grep -qx poweroff.target "$TEST_DIR/logind-h2/started" || fail "logind goes on" "$(tail "$TEST_DIR"/*.h2.log)"
only_on n1 none && only_on n2 none && pass "where guests can go nowhere the cluster is suspended first" ||
	fail "where guests can go nowhere the cluster is suspended first" "$(tail -n 5 "$TEST_DIR"/*.h2.log)"
expect_match "which its supervisor leaves so" "$(vckpt status heat)" 'suspended'
stop_all
expect_ok "resumed on a host that is there" vckpt resume heat --on h1
heat_ends "the job ends right"

monitor h1
for m in pvpanic pvpanic-mmio; do
	"$lab" put n1 "$(find "/lib/modules/$(ls /boot/vmlinuz-* | sort -V | tail -n 1 | sed 's/.*vmlinuz-//')" -name "$m.ko")" "/tmp/$m.ko"
done
"$lab" run n1 'insmod /tmp/pvpanic.ko; insmod /tmp/pvpanic-mmio.ko; (sleep 0.5; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &'
expect_heard "a kernel that panics: its guest failed" h1 \
	'.cluster == "heat" and .guest == "n1" and .kind == "failed" and .text == "its kernel panicked"'
finish
