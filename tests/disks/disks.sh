# shellcheck shell=bash
# disks.sh: what the tests of guests with disks share, on top of tests/real/vckpt.sh: the guest n1 has a qcow2 and
# a raw disk and a program that writes to both (tests/disks/ledger.c), n2 has none.

# Files of vckpt's beside the images.
layers()
{
	find "$TEST_DIR/images" -name '*.vckpt-*' -printf '%f\n' | sort
}

# Files that there must be: what the epochs' records name, and what the running guest writes to.
layers_wanted()
{
	local e
	{
		for e in $(epochs); do
			vckpt show "heat@$e" --json | jq -r '.guests[].disks[]?.layers[].path'
		done
		chain vda && chain vdb
	} | grep -F .vckpt- | sed 's,.*/,,' | sort -u
}

# The paths of the layers that the running n1 has open for a disk, topmost first.
chain()
{
	"$lab" exec h1 virsh dumpxml n1 | awk -v d="$1" '/<disk /,/<\/disk>/ {
		if (match($0, /file=.[^\x27"]*/)) n = n substr($0, RSTART + 6, RLENGTH - 6) "\n"
		if ($0 ~ "target dev=." d ".") printf "%s", n
		if (/<\/disk>/) n = "" }'
}

defined()
{
	"$lab" exec h1 virsh -q domblklist --inactive n1 | awk -v d="$1" '$1 == d {print $2}'
}

count()
{
	LAB_TIMEOUT=20 "$lab" run n1 'od -An -tu8 -N8 /tmp/ledger' | tr -d ' '
}

# A word in the guest's memory, by which a restored one is known: the writer goes on at once.
mark()
{
	"$lab" run n1 "echo $1 >/tmp/mark"
}

marked()
{
	LAB_TIMEOUT=20 "$lab" run n1 'cat /tmp/mark'
}

counted()
{
	[ "$(count)" -ge "$1" ]
}

writes_on()
{
	wait_until 30 counted $(($(count) + ${1:-40}))
}

# The writer stands still while what it has written is compared with what it remembers.
agree()
{
	LAB_TIMEOUT=40 "$lab" run n1 'killall -STOP ledger; /tmp/bin/ledger check /tmp/ledger /dev/vda /dev/vdb; s=$?
		killall -CONT ledger; exit $s'
}

# The same with a slot that somebody has emptied meanwhile.
agree_spoiled()
{
	"$lab" run n1 'cd /tmp; killall -STOP ledger
		dd if=/dev/vda of=was bs=4096 skip=7 count=1; dd if=/dev/zero of=/dev/vda bs=4096 seek=7 count=1 conv=fsync
		bin/ledger check ledger /dev/vda /dev/vdb; s=$?
		dd if=was of=/dev/vda bs=4096 seek=7 conv=fsync; killall -CONT ledger; exit $s' 2>/dev/null
}

# disks_start [GUEST...]: the lab, the cluster "heat" of these guests (n1 n2), and the writer in n1.
disks_start()
{
	guests=("${@:-n1}")
	[ $# -gt 0 ] || guests=(n1 n2)
	mkdir "$TEST_DIR/images"
	qemu-img create -q -f qcow2 "$TEST_DIR/images/a.qcow2" 64M
	qemu-img create -q -f raw "$TEST_DIR/images/b.img" 16M
	image_ready
	"$lab" up --owner $$ --scratch "$TEST_DIR" ${VCKPT_TEST_CACHE:+--cache "$VCKPT_TEST_CACHE"} || give_up "no lab"
	"$lab" define h1 n1 1 --disk "$TEST_DIR/images/a.qcow2" --disk "$TEST_DIR/images/b.img" || give_up "n1 undefined"
	[ ${#guests[@]} -eq 1 ] || "$lab" define h1 n2 2 || give_up "n2 undefined"
	"$lab" boot "${guests[@]}" || give_up "the guests do not boot"
	"$lab" run n1 'mkdir -p /tmp/bin' && "$lab" put n1 "$VCKPT_BUILD/tests/disks/ledger" /tmp/bin/ledger &&
		"$lab" run n1 'chmod 755 /tmp/bin/ledger; job start ledger /tmp/bin/ledger write /tmp/ledger /dev/vda /dev/vdb' ||
		give_up "the writer does not start"
	expect_ok "guests with disks, and without, are adopted" vckpt adopt heat "${guests[@]}"
	wait_until 30 counted 100 || give_up "the writer does not write: $("$lab" run n1 'job output ledger')"
}
