#!/bin/bash
# vckpt import and export without guests: save images as virsh writes them (made of a stream that QEMU wrote) go into a
# store that was recorded, come out as an export, and that goes into other clusters and stores.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
heat=$VCKPT_STORE/clusters/heat
plain=$TEST_DIR/plain out=$TEST_DIR/out

recorded_store
mkdir "$plain"

# image DOMAIN [XML]: as `virsh save` writes it.
image()
{
	local xml="<domain type='kvm'><name>$1</name>${2-}</domain>"
	{
		python3 -c 'import struct, sys
sys.stdout.buffer.write(b"LibvirtQemudSave" + struct.pack("=5I56x", 2, len(sys.argv[1]) + 1, 1, 0, 0) + sys.argv[1].encode() + b"\0")' "$xml"
		zstd -dcq "$top/tests/data/stream-tiny.zst"
	} >"$plain/$1.sav"
}

refused "an empty folder" 3 "$plain has neither a manifest.json nor a save image" import "$plain"
image n1
refused "one guest of two" 7 "$plain has no guest n2 of cluster heat" import "$plain"
image n2
image n3
refused "a domain that is of no guest" 7 'n3.sav is of domain n3, which is of no guest of cluster heat' import "$plain"
rm "$plain/n3.sav"
image n2 "<devices><disk type='file'><source file='/a'/><target dev='vda'/></disk></devices>"
refused "a domain with disks" 7 'n2.sav: domain n2 has disks' import "$plain"
image n2
truncate -s -5 "$plain/n2.sav"
refused "an image that is cut off" 6 'n2.sav: ' import "$plain"
refused "which is no epoch then" 3 "epoch 4" show heat@4
image n2
says "images of other hands are imported" 'heat: imported as epoch [0-9]*, the newest; .vckpt restart heat@' vckpt import "$plain"
e=$(vckpt show heat --json | jq .epoch)
is "with all guests" "$(vckpt show heat --json | jq -c '[.guests[].guest, .engine]')" '["n1","n2","stop-copy"]'
is "and the time of the last file" "$(vckpt show heat --json | jq '.time_ns / 1e9 | floor')" "$(stat -c %Y "$plain/n2.sav")"
is "the log tells of it, and of those that failed" \
	"$(vckpt log --json | jq -r '.[] | select(.action == "import") | .state' | sort | uniq -c | tr -s ' \n' ' ')" " 1 failed 1 imported "

says "it is exported" "^heat@$e: exported to $out, 2 guests, .*" vckpt export heat "$out"
is "as these files" "$(cd "$out" && stat -c '%a %n' . * | paste -sd,)" "700 .,600 manifest.json,600 n1.save,600 n2.save"
is "which libvirt knows for what they are" "$(head -c 16 "$out/n1.save")" LibvirtQemudSave
refused "into a folder that is not empty" 7 "$out is not empty" export heat "$out"
refused "over a file" 7 'is there and no folder' export heat "$out/n1.save"
refused "into a folder that is not there" 9 "the folder above $TEST_DIR/no/such" export heat "$TEST_DIR/no/such"
refused "an epoch that is not there" 3 'epoch 9' export heat@9 "$TEST_DIR/new"
refused "a guest that is not there" 3 'no guest n7' export heat "$TEST_DIR/new" --guest n7
vckpt export heat >"$TEST_DIR/said" 2>&1
is "no folder" $? 2
is "one guest alone" "$(vckpt export heat "$TEST_DIR/one" --guest n2 --json | jq -c '[.guests[].file, .warnings]')" '["n2.save",[]]'
refused "is no checkpoint of the cluster" 7 'one has no guest n1 of cluster heat' import "$TEST_DIR/one"

mkdir "$TEST_DIR/small"
said=$(unshare -m sh -ec 'mount -t tmpfs -o size=512k none "$0"; exec "$@"' "$TEST_DIR/small" \
	bash -c '"$VCKPT_BUILD/vckpt" export heat "$0/x"; s=$?; ls "$0"; exit $s' "$TEST_DIR/small" 2>&1)
is "a disk without room: refused beforehand" $? 9
if grep -Eq "needs up to [0-9]+ MiB, and $TEST_DIR/small has 0 MiB free.*--guest.*No space left" <<<"$said"; then
	pass "which says how much is needed"
else
	fail "which says how much is needed" "$said"
fi
mkdir "$TEST_DIR/mount"
said=$(unshare -m sh -ec 'mount -t tmpfs none "$0"; exec "$@"' "$TEST_DIR/mount" \
	"$VCKPT_BUILD/vckpt" export heat "$TEST_DIR/mount" 2>&1)
is "a mount point itself cannot be it" $? 7

says "it goes into another cluster, which it makes" 'copy: imported as epoch 1,' vckpt import "$out" --cluster copy
is "as what it was" "$(vckpt show copy --json | jq '.time_ns')" "$(vckpt show heat --json | jq '.time_ns')"
is "and where it came from" "$(vckpt show copy --json | jq -c '.record.imported | [.cluster, .epoch]')" "[\"heat\",$e]"
vckpt export copy "$TEST_DIR/again" -q
is "out of there it comes as it went in" "$(cd "$TEST_DIR/again" && cat n?.save | md5sum)" "$(cd "$out" && cat n?.save | md5sum)"
is "into another store, which it makes" "$(vckpt import "$out" --store "$TEST_DIR/other" --json | jq -c '[.cluster, .epoch, .plain]')" '["heat",1,false]'
refused "a name that is none" 2 'x/y' import "$out" --cluster x/y
cp -r "$out" "$TEST_DIR/bad"
sed -i 's/"why": *"./&x/' "$TEST_DIR/bad/manifest.json"
refused "a damaged manifest" 6 "$TEST_DIR/bad/manifest.json" import "$TEST_DIR/bad"
cp "$out/manifest.json" "$TEST_DIR/bad"
printf X | dd of="$TEST_DIR/bad/n2.save" bs=1 seek=5000 conv=notrunc 2>/dev/null
before=$(vckpt ls --json | jq length)
refused "a damaged image" 6 "$TEST_DIR/bad/n2.save" import "$TEST_DIR/bad"
is "of which nothing is in the store" "$(vckpt ls --json | jq length)" "$before"
rm "$TEST_DIR/bad/n2.save"
refused "an image that is gone" 6 "$TEST_DIR/bad/n2.save is gone" import "$TEST_DIR/bad"

# One of this version, which later ones must read: made by the first lines of this test.
says "an export of the first version is read" 'golden: imported as epoch 1' \
	vckpt import "$top/tests/data/export" --cluster golden
vckpt export golden "$TEST_DIR/golden" -q
is "and holds what it did" "$(cd "$TEST_DIR/golden" && cat n?.save | md5sum)" "$(cd "$top/tests/data/export" && cat n?.save | md5sum)"

vckpt key new "$TEST_DIR/key" -q && vckpt key use copy "$TEST_DIR/key" -q
says "into an encrypted cluster" 'copy: imported as epoch 2,' vckpt import "$out" --cluster copy
is "it goes encrypted" "$(vckpt show copy --json | jq '.guests | map(has("key")) | all')" true
said=$(vckpt export copy "$TEST_DIR/sealed" 2>&1 >/dev/null)
if [[ $said == *"the checkpoint is encrypted, and what was exported is not"* ]]; then
	pass "and out of it in plain, with a warning"
else
	fail "and out of it in plain, with a warning" "$said"
fi
is "as it went in" "$(cd "$TEST_DIR/sealed" && cat n?.save | md5sum)" "$(cd "$out" && cat n?.save | md5sum)"
finish
