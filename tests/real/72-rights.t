#!/bin/bash
# Rights: QEMU runs as libvirt's own user, as distributions have it; a member of the group vckpt, who is nobody else,
# checkpoints and restarts; captures are encrypted, and without the key nothing is destroyed.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

export LAB_QEMU='user = "libvirt-qemu"
group = "kvm"
dynamic_ownership = 1'
member=5001 stranger=5003 group=5002

# as UID GROUPS vckpt-arguments...: in host h1, with copies of the programs: the build tree may be in a folder of root's.
as()
{
	local uid=$1 groups=$2
	shift 2
	"$lab" exec h1 setpriv --reuid "$uid" --regid "$uid" "$groups" env "LD_LIBRARY_PATH=$TEST_DIR/bin" \
		"VCKPT_DAEMON=$TEST_DIR/bin/vckptd" "$TEST_DIR/bin/vckpt" "$@"
}

by_member()
{
	as $member "--groups=$group" "$@"
}

# said_by NAME CODE PATTERN COMMAND...: it ends so and says so.
said_by()
{
	local name=$1 code=$2 pattern=$3 said
	shift 3
	said=$("$@" 2>&1)
	expect_eq "$name" $? "$code"
	expect_match "$name, and why" "$said" "$pattern"
}

owner_of_qemu()
{
	"$lab" exec h1 sh -c "stat -c %U /proc/\$(cat /run/libvirt/qemu/$1.pid)"
}

# Of the newest checkpoint.
engine()
{
	vckpt show heat --json | jq -r .engine
}

# What doctor says: for this host's QEMU only, a copy in its place.
give_privilege()
{
	local qemu
	qemu=$(command -v qemu-system-x86_64)
	cp "$qemu" "$TEST_DIR/qemu" && setcap cap_sys_ptrace+ep "$TEST_DIR/qemu" &&
		"$lab" exec h1 mount --bind "$TEST_DIR/qemu" "$qemu" &&
		echo 'clear_emulator_capabilities = 0' >>"$LAB_DIR/hosts/h1/etc/qemu.conf" &&
		"$lab" libvirtd h1 stop && "$lab" libvirtd h1 start
}

# ---- guests, whose QEMU is libvirt-qemu's ----
image_ready
chmod 711 "$TEST_DIR"
mkdir "$TEST_DIR/bin" "$TEST_DIR/images"
cp "$VCKPT_BUILD"/.libs/{vckpt,vckptd} "$VCKPT_BUILD"/.libs/libvckpt-host.so.0 "$TEST_DIR/bin/"
"$lab" up --owner $$ --scratch "$TEST_DIR" --hosts 1 ${VCKPT_TEST_CACHE:+--cache "$TEST_DIR/cache"} || give_up "no lab"
qemu-img create -q -f qcow2 "$TEST_DIR/images/a.qcow2" 16M
"$lab" define h1 n1 1 --disk "$TEST_DIR/images/a.qcow2" && "$lab" define h1 n2 2 || give_up "undefined"
guests=(n1 n2)
chmod 777 "$LAB_DIR"/guests/*
"$lab" exec h1 sh -ec 'cp /etc/group "$0"; echo "vckpt:x:$1:" >>"$0"; mount --bind "$0" /etc/group' "$TEST_DIR/group" $group
"$lab" boot n1 n2 || give_up "the guests do not boot"
expect_eq "QEMU is libvirt's user" "$(owner_of_qemu n1)" libvirt-qemu

# ---- a group's store ----
install -d -m 2770 -g $group "$VCKPT_STORE"
expect_ok "domains are adopted" vckpt adopt heat n1 n2
expect_eq "the store is the group's" "$(stat -c '%a %g' "$VCKPT_STORE/clusters/heat")" "2770 $group"
job_start "--host n1:2,n2:2 heat2d $(heat_args)"
job_wait_step 80 || give_up "the job does not start: $(job_output)"

said_by "a stranger may not use vckptd" 7 "user $stranger may not use .*vckptd.sock" as $stranger --clear-groups doctor
said_by "nor see the store" 9 'vckpt-store: Permission denied' as $stranger --clear-groups ls
expect_ok "a member takes a checkpoint" by_member checkpoint heat --why "no root"
expect_match "which is told in the log" "$(by_member log heat)" 'committed .*no root'
expect_eq "its files are the group's" "$(find "$VCKPT_STORE/clusters/heat/data/000001" -type f -printf '%m %G\n' | sort -u)" \
	"660 $group"
expect_ok "nobody is held" guests_free
if [ "$(cat /proc/sys/vm/unprivileged_userfaultfd)" = 0 ]; then
	expect_eq "without the privilege they stood still" "$(engine)" stop-copy
	expect_match "which doctor warns of" "$(vckpt doctor heat)" '^warn +.*no CAP_SYS_PTRACE'
	expect_match "with the cure" "$(vckpt doctor heat)" 'cure: .*clear_emulator_capabilities = 0, and setcap'
fi
kill_guest n1 n2
give_privilege || give_up "QEMU gets no capability"
expect_ok "a member restarts" by_member restart heat
expect_eq "QEMU is libvirt's user again" "$(owner_of_qemu n1)" libvirt-qemu
heat_moves "the job goes on"
expect_match "doctor's cure helped" "$(vckpt doctor heat)" '^ok +.*userfaultfd'

# ---- others are kept out ----
chmod o+rx "$VCKPT_STORE"
said_by "a store that others may enter is refused" 7 'others may enter folder .*chmod -R o=' vckpt checkpoint heat
chmod o= "$VCKPT_STORE"
mkdir -m 700 "$TEST_DIR/own"
chown $member:$member "$TEST_DIR/own"
said_by "vckptd uses no store of somebody else's" 7 "belongs to user $member" vckpt adopt heat n1 n2 --store "$TEST_DIR/own"

# ---- encryption ----
key=$TEST_DIR/heat.key
id=$(vckpt key new "$key" --json | jq -r .key)
expect_ok "the cluster gets a key" vckpt key use heat "$key"
said_by "disks would not be encrypted" 7 'n1 has disks.*--plain-disks' vckpt checkpoint heat
expect_ok "which is known" vckpt key use heat "$key" --plain-disks
expect_ok "a member takes an encrypted checkpoint without having the key" by_member checkpoint heat
e=$(epochs | awk '{print $NF}')
expect_eq "and the guests run on meanwhile" "$(engine)" background
expect_match "which is told" "$(vckpt show "heat@$e")" '^    encrypted; its disks are not'
expect_fail "the definition cannot be read" grep -q domain "$VCKPT_STORE/clusters/heat/data/$(printf %06d "$e")/n1.xml"
expect_fail "the member cannot read the key" "$lab" exec h1 setpriv --reuid $member --regid $member --groups $group cat "$key"
mv "$key" "$key.away"
said_by "a checkpoint without the key is refused" 7 "key $id is not on this host" vckpt checkpoint heat
said_by "and a restart over running guests" 7 "key $id is not on this host.*nothing was destroyed" vckpt restart "heat@$e" --destroy
expect_ok "which destroyed nothing" guests_free
mv "$key.away" "$key"
kill_guest n1 n2
expect_ok "with the key it is restarted" by_member restart "heat@$e"
heat_ends "the job ends right"
finish
