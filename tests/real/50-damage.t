#!/bin/bash
# One flipped bit in each kind of stored byte: the restart is refused with the code for damage, names the file, and
# no vCPU ran.  Mended it restores, and so does the epoch before.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"

# flip FILE OFFSET: the lowest bit of that byte.
flip()
{
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

resumed()
{
	grep -c Resumed "$TEST_DIR/events"
}

# damaged FILE OFFSET...: each must be found.
damaged()
{
	local file=$VCKPT_STORE/$1 name=$1 at said code
	shift
	for at; do
		cp "$file" "$TEST_DIR/saved"
		flip "$file" "$at"
		said=$(vckpt restart heat@2 2>&1)
		code=$?
		cp "$TEST_DIR/saved" "$file"
		if [ $code -eq 6 ] && grep -Fq "${name##*/}" <<<"$said"; then
			pass "a flipped bit in $name at $at is found"
		else
			fail "a flipped bit in $name at $at is found" "code $code: $said"
			vckpt kill heat >/dev/null
		fi
		guest_is n1 "shut off" && guest_is n2 "shut off" || fail "no guest is left" "$said"
	done
}

# ends FILE: offsets of its middle and its last byte.
ends()
{
	local size
	size=$(stat -c %s "$VCKPT_STORE/$1")
	echo $((size / 2)) $((size - 1))
}

heat_pause=100
heat_start 2
expect_ok "first checkpoint" vckpt checkpoint heat
heat_moves "the job goes on" 40
expect_ok "second checkpoint" vckpt checkpoint heat
expect_ok "kill" vckpt kill heat
# libvirtd's own word on what ran.
"$lab" exec h1 stdbuf -oL virsh event --event lifecycle --loop </dev/null >"$TEST_DIR/events" 2>&1 &
disown
sleep 0.5

# Offsets: docs/store-format.md.
for f in vckpt-store clusters/heat/{cluster.json,incarnation.json,epochs/000002.json}; do
	# shellcheck disable=SC2046 # words wanted
	damaged $f 2 40 $(ends $f)
done
for f in clusters/heat/data/000002/n1.{map,device,xml}; do
	# shellcheck disable=SC2046 # words wanted
	damaged $f 0 20 40 $(ends $f)
done
for f in clusters/heat/data/000002/n{1,2}.pack; do
	# shellcheck disable=SC2046 # words wanted
	damaged $f 0 30 70 90 $(ends $f)
done
expect_eq "no vCPU ran" "$(resumed)" 0

expect_ok "mended, it restores" vckpt restart heat@2
heat_moves "the mended epoch's job goes on"
expect_ok "and libvirtd would have told" test "$(resumed)" -ge 2
expect_ok "kill again" vckpt kill heat
expect_ok "the epoch before restores" vckpt restart heat@1
heat_ends "and ends right"
finish
