#!/bin/bash
# Disks: memory and disks of a guest are of one instant, in each epoch that is restored; an epoch that fails leaves
# nothing behind; nothing is restored on layers that were written to since.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
# shellcheck source=tests/disks/disks.sh
. "$here/../disks/disks.sh"

# restored NAME EPOCH LEAST MARK: memory and disks are those of the epoch, and agree.
restored()
{
	local said n
	kill_guest n1
	expect_ok "$1: restart from epoch $2" vckpt restart "heat@$2" --destroy
	said=$(agree)
	expect_match "$1: memory and disks agree" "$said" '^agree'
	n=${said#agree }
	expect_ok "$1: they are of that epoch ($3 <= $n)" test "${n:-0}" -ge "$3"
	expect_eq "$1: and of no other" "$(marked)" "$4"
	expect_eq "$1: the definition follows" "$(defined vda) $(defined vdb)" "$(chain vda | head -n 1) $(chain vdb | head -n 1)"
	expect_ok "$1: the writer goes on" writes_on
	expect_eq "$1: no layer but those that are needed" "$(layers)" "$(layers_wanted)"
}

disks_start
expect_fail "the comparison notices a slot that is not as it was" agree_spoiled
expect_match "as it was they agree" "$(agree)" '^agree'

mark one
a=$(count)
expect_ok "a first checkpoint" vckpt checkpoint heat
writes_on || fail "the writer goes on"
expect_match "its record has the time of the disks' cut" "$(vckpt show heat --json | jq .record.phases_ms.disk)" '^[0-9.]+$'
expect_eq "and the layers" "$(vckpt show heat@1 --json | jq -r '.guests[].disks[]?.layers[].path' | xargs -n 1 basename | xargs)" \
	"a.qcow2 b.img"
expect_fail "a frozen layer cannot be opened for writing beside the guest" \
	qemu-io -f qcow2 -c 'write 0 4096' "$TEST_DIR/images/a.qcow2"
mark two
c=$(count)
expect_ok "a second one" vckpt checkpoint heat --engine stop-copy
mark three
writes_on || fail "the writer goes on"
restored "the first" 1 "$a" one
restored "the second" 2 "$c" two

before=$(layers)
vckpt_stopped "device state" checkpoint heat && {
	expect_fail "in mid-epoch the disks are cut" test "$(layers)" = "$before"
	vckpt_signal INT
	vckpt_signal CONT
	wait "$vckpt_job"
	expect_ok "given up: the guests run and answer" wait_until 30 guests_free
	expect_eq "given up: no layer is left of it" "$(layers)" "$before"
	expect_match "given up: memory and disks agree" "$(agree)" '^agree'
}
for text in "noted as prepared" "disk begins" "disk: ok"; do
	vckptd_stopping "guest n1: $text" checkpoint heat || continue
	vckptd_kill
	wait "$vckpt_job" 2>/dev/null
	vckpt status heat >/dev/null
	expect_ok "vckptd killed at '$text': the guests run and answer" wait_until 30 guests_free
	expect_match "vckptd killed at '$text': memory and disks agree" "$(agree)" '^agree'
done
expect_ok "afterwards a checkpoint works" vckpt checkpoint heat
expect_eq "and no layer but those that are needed is there" "$(layers)" "$(layers_wanted)"

top=$(vckpt show heat --json | jq -r '.guests[].disks[]?.layers[0].path' | head -n 1)
cp "$top" "$TEST_DIR/top"
printf 'X' | dd of="$top" bs=1 seek=$(($(stat -c %s "$top") - 100)) conv=notrunc 2>/dev/null
before=$(layers)
kill_guest n1
said=$(vckpt restart heat --destroy 2>&1)
expect_eq "a layer that was written to: the restart is refused" $? 6
expect_match "and names it" "$said" "${top##*/}.*checksum"
expect_ok "no domain of it is there" guest_is n1 "shut off"
expect_eq "and no layer" "$(layers)" "$before"
cp "$TEST_DIR/top" "$top"
expect_ok "as it was it restores" vckpt restart heat
expect_match "and agrees" "$(agree)" '^agree'

expect_ok "the disks are copied with the rest" vckpt flush heat "$TEST_DIR/place"
expect_eq "so the place has it whole" "$(vckpt ls heat --json | jq -r '.[-1].copies[1].state')" whole
kill_guest n1
rm "$top"
expect_ok "a layer that is gone: the restart puts it back" vckpt restart heat --destroy
expect_match "and memory and disks agree" "$(agree)" '^agree'

# Layers that only dropped epochs need go with them, and not before; of a guest that is off they stay until it is back.
expect_ok "a restart from the first" vckpt restart heat@1 --destroy
before=$(layers)
others=$(epochs | tr ' ' '\n' | sed -n 's/^\([2-9][0-9]*\|1[0-9]\+\)$/heat@\1/p')
# shellcheck disable=SC2086 # words wanted
would=$(vckpt prune $others --dry-run --json)
expect_eq "a prune that changes nothing" "$(layers)" "$before"
expect_ok "tells of layers that would go: $(jq -c '[.layer_files, .layer_bytes]' <<<"$would")" \
	jq -e '.layer_files > 0 and .layer_bytes > 0' <<<"$would"
# shellcheck disable=SC2086 # words wanted
said=$(vckpt prune $others --json)
expect_eq "just these go" "$(jq -c '[.layer_files, .layer_bytes, .layers, .layers_not_asked]' <<<"$said")" \
	"$(jq -c '[.layer_files, .layer_bytes, .layers, []]' <<<"$would")"
expect_eq "and none is left that nobody needs" "$(layers)" "$(layers_wanted)"
expect_match "memory and disks agree" "$(agree)" '^agree'
expect_ok "a checkpoint upon it" vckpt checkpoint heat
newest=$(epochs | tr ' ' '\n' | grep . | tail -n 1)
kill_guest n1
before=$(layers)
said=$(vckpt prune "heat@$newest")
expect_eq "of a guest that is off" $? 0
expect_match "it is told that its layers stay" "$said" 'layers of its disks stay: .*domain n1 is off'
expect_eq "and they do" "$(layers)" "$before"
expect_ok "a restart" vckpt restart heat --destroy
expect_match "memory and disks agree" "$(agree)" '^agree'
expect_eq "and no layer is left that nobody needs" "$(layers)" "$(layers_wanted)"
finish
