#!/bin/bash
# What cannot be done safely is refused in one sentence that names the object and the cure, and changes nothing.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

# shellcheck source=tests/refused.sh
. "$(dirname "$0")/../refused.sh"

heat_pause=100
heat_start 2
refused "a cluster that is not there" 3 nosuch checkpoint nosuch
refused "a domain that is not there" 3 nosuch adopt other nosuch
refused "an epoch that is not there" 3 '99' restart heat@99 --destroy
expect_ok "which destroyed nothing" guests_free
refused "no epoch at all" 3 heat restart heat
refused "a store that is not there" 3 nowhere ls --store "$LAB_DIR/nowhere"
refused "a name with a slash" 2 'a/b' adopt a/b n1
said=$(vckpt checkpoint heat --gate nosuch 2>&1)
expect_eq "a gate of no known name is wrong usage" $? 2
expect_match "and says so" "$said" "--gate does not know 'nosuch'"

refused "a guest's name with a slash" 2 'n/1' adopt other n/1=n1
refused "a name that begins with a dot" 2 '\.other' adopt .other n1
refused "a name of two lines" 2 'printable' adopt $'o\nther' n1
refused "a name that is no UTF-8" 2 'UTF-8' adopt $'\xc3(' n1
refused "a name of 65 bytes" 2 '64' adopt "$(printf 'x%.0s' {1..65})" n1

# Blanks and letters of other languages: in all that is written and read.
odd='große wärme 2'
expect_ok "names with blanks and umlauts are adopted" vckpt adopt "$odd" 'kleiner knoten=n1' n2
expect_ok "and checkpointed" vckpt checkpoint "$odd" --why 'weil es "geht"'
expect_eq "and listed" "$(vckpt ls "$odd" --json | jq -r '.[0] | .cluster + "@\(.epoch): " + .why')" \
	"$odd@1: weil es \"geht\""
expect_match "and shown" "$(vckpt show "$odd@1")" '^  kleiner knoten: '
expect_match "and told in the log" "$(vckpt log "$odd")" 'checkpoint +1  committed .*: weil es "geht"$'
expect_match "and drawn" "$(vckpt timeline "$odd@1" --svg)" '>kleiner knoten</text>'

# A store that cannot be written, or is not of ours.
"$lab" exec h1 sh -c 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"' "$VCKPT_STORE"
refused "a store that is read-only" 9 "$VCKPT_STORE.*Read-only file system" checkpoint heat
expect_ok "is read all the same" vckpt show "$odd@1"
"$lab" exec h1 umount "$VCKPT_STORE"
expect_ok "nobody is held for it" guests_free
cp -p "$VCKPT_STORE/vckpt-store" "$TEST_DIR/kept"
sed -i 's/"format":1/"format":2/' "$VCKPT_STORE/vckpt-store"
refused "a store of a newer format" 7 'newer vckpt' checkpoint heat
refused "also for who only reads" 7 'newer vckpt' ls
sed -i 's/"uuid": *"./&x/; s/"format":2/"format":1/' "$VCKPT_STORE/vckpt-store"
refused "a store that is damaged" 6 "$VCKPT_STORE/vckpt-store" checkpoint heat
cp -p "$TEST_DIR/kept" "$VCKPT_STORE/vckpt-store"

# No agent: its keeper, and who starts it again, go with it.
"$lab" run n2 'kill -STOP $(pidof vckpt-agent)'
refused "an agent that does not answer" 7 'n2.*no agent answers.*start vckpt-agent' checkpoint heat --engine stop-copy
expect_ok "leaves all guests running" sh -c "'$lab' exec h1 virsh domstate n1 | grep -q running"
"$lab" run n2 'kill -CONT $(pidof vckpt-agent)'

# Really none: what would start it again finds nothing to start.
"$lab" run n2 'mv /usr/sbin/vckpt-agent /tmp/; kill -KILL $(pidof vckpt-agent)'
refused "a guest without an agent" 7 'n2.*no agent answers.*start vckpt-agent' checkpoint heat
"$lab" run n2 'mv /tmp/vckpt-agent /usr/sbin/'
expect_ok "nobody is held for that" wait_until 20 guests_free

# An agent that falls silent when it is asked to hold, and one that does while it holds: it wakes up and hears all that
# was said meanwhile.
if vckpt_stopped quiet checkpoint heat; then
	"$lab" run n2 'kill -STOP $(pidof vckpt-agent); job start waker "sleep 6; kill -CONT \$(pidof vckpt-agent)"'
	vckpt_signal CONT
	wait "$vckpt_job"
	expect_match "an agent that is silent when asked to hold: an epoch all the same, or a clean end" $? '^(0|5|10)$'
	expect_ok "and when it wakes up nobody is held" wait_until 30 guests_free
	heat_moves "the job goes on"
fi
"$lab" run n2 'job start sleeper "
	while [ \$((\$(od -An -tu4 -j12 -N4 /run/vckpt/state) & 3)) != 1 ]; do usleep 5000; done
	kill -STOP \$(pidof vckpt-agent); sleep 4; kill -CONT \$(pidof vckpt-agent)"'
vckpt checkpoint heat >/dev/null 2>&1
expect_match "an agent that falls silent while it holds: an epoch all the same, or a clean end" $? '^(0|5|10)$'
expect_ok "and when it wakes up nobody is held any more" wait_until 30 guests_free
heat_moves "and the job goes on"

"$lab" exec h1 virsh -q suspend n2
refused "a guest that an administrator paused" 7 'n2.*paused' checkpoint heat
expect_ok "is left paused" guest_is n2 paused
"$lab" exec h1 virsh -q resume n2

# Nobody's deadline is a matter of the guest's wall clock.
"$lab" run n2 'date -s "2001-02-03 04:05" >/dev/null'
expect_ok "a checkpoint of a guest whose clock is years off" vckpt checkpoint heat --drain require
heat_moves "does no harm to the job"
refused "a restart beside running guests" 7 'n1' restart heat
kill_guest n2
refused "a guest that is off" 7 'n2' checkpoint heat
expect_ok "the other one runs" guest_is n1 running
"$lab" exec h1 virsh dumpxml --inactive n2 >"$TEST_DIR/n2.xml"
"$lab" exec h1 virsh -q undefine n2
refused "a guest whose domain is gone" 3 'n2.*no domain' checkpoint heat
"$lab" exec h1 virsh -q define "$TEST_DIR/n2.xml"
"$lab" libvirtd h1 stop
refused "no libvirtd" 10 'cannot connect to libvirtd' checkpoint heat
"$lab" libvirtd h1 start
expect_ok "restart" vckpt restart heat --destroy
off=$(($("$lab" run n2 'date +%s') - $(date +%s)))
expect_ok "and its clock is right after the restart ($off s)" test ${off#-} -lt 60
expect_ok "doctor finds nothing bad" vckpt doctor heat
heat_ends "the job ends right"
loose_is_told "mpirun --host n1:1,n2:1 --mca hook ^vckpt heat2d --grid 256 --steps 100000 --report 20"

# A device that no engine can take along: another program's memory.  And an epoch that cannot come back here.
cat >"$TEST_DIR/shmem.xml" <<Y
<shmem name='bulletin'><model type='ivshmem-plain'/><size unit='M'>1</size></shmem>
Y
"$lab" exec h1 virsh -q attach-device n1 "$TEST_DIR/shmem.xml" --live
refused "a device that no engine can capture" 7 'n1.*shared memory bulletin' checkpoint heat
expect_match "doctor names it, too" "$(vckpt doctor heat)" 'n1.*bulletin'
# Hardware, of which a definition is enough.
"$lab" exec h1 virsh dumpxml --inactive n1 | sed "s|<name>n1<|<name>n3<|; /<uuid>/d; s|<memballoon|<hostdev mode='subsystem' type='pci' managed='yes'>\\
	<source><address domain='0x0000' bus='0xfe' slot='0x1f' function='0x7'/></source></hostdev>&|" >"$TEST_DIR/n3.xml"
"$lab" exec h1 virsh -q define "$TEST_DIR/n3.xml"
expect_match "so is a PCI device, when the domain is adopted" "$(vckpt adopt hardware n3 2>&1)" \
	'guest n3 cannot be checkpointed \(passthrough\): host device pci 0000:fe:1f.7 is given to the guest'
expect_match "and by doctor" "$(vckpt doctor hardware)" '^bad +n3 host device pci 0000:fe:1f.7'
"$lab" exec h1 virsh -q undefine n3
expect_ok "everybody runs" guests_free
e=$(epochs | tr ' ' '\n' | sort -n | tail -n 1)
map=$(printf '%s/clusters/heat/data/%06d/n2.map' "$VCKPT_STORE" "$e")
cp "$map" "$TEST_DIR/map" && truncate -s -1 "$map"
refused "an epoch that is damaged" 6 'n2.map.*nothing was destroyed' restart heat --destroy
expect_ok "for which nothing was destroyed" guests_free
cp "$TEST_DIR/map" "$map"
qemu=$(command -v qemu-system-x86_64)
"$lab" exec h1 mount --bind /bin/false "$qemu"
refused "an epoch whose QEMU is not here any more" 7 'guest n1: machine type .*cannot be had.*install.*nothing was destroyed' \
	restart heat --destroy
"$lab" exec h1 umount "$qemu"
expect_ok "for which nothing was destroyed either" guests_free
finish
