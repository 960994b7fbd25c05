#!/bin/bash
# What tells of a store, with one that was recorded (tests/data/store: of tests/real/10-loop.t, without the memory):
# epochs, deeds, a timeline; and stores that are missing, read-only, damaged or of a newer vckpt.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
heat=$VCKPT_STORE/clusters/heat

fresh()
{
	rm -rf "$VCKPT_STORE"
	recorded_store
}

fresh
is "epochs are listed" "$(vckpt ls --json | jq -c '[.[].epoch]')" "[2,3]"
is "the log has deeds, and an epoch that no deed tells of" \
	"$(vckpt log --json | jq -r '.[] | "\(.action) \(.epoch) \(.state)"' | paste -sd,)" \
	"checkpoint 2 committed,checkpoint 3 committed,restart 3 failed,kill null killed"
says "for people, too, with the reason" 'still there: guest n1' vckpt log heat
is "the timeline has all steps of each guest" \
	"$(vckpt timeline heat@2 --json | jq -c '[.guests[] | [.guest, (.steps | length)]]')" '[["n1",7],["n2",7]]'
says "for people, too" '^n2 +prepare +0.0 ms +243.9 ms$' vckpt timeline heat@2
vckpt timeline heat@2 --svg="$TEST_DIR/2.svg"
if cmp "$TEST_DIR/2.svg" "$top/docs/timeline.svg"; then
	pass "the picture in the documents is the one that is drawn"
else
	fail "the picture in the documents is the one that is drawn" \
		"vckpt timeline heat@2 --store tests/data/store --svg=docs/timeline.svg draws it anew"
fi
refused "a picture that cannot be written" 9 "cannot write $TEST_DIR/none/x.svg" timeline --svg="$TEST_DIR/none/x.svg"
refused "a picture of a full disk" 9 "cannot write /dev/full" timeline --svg=/dev/full
is "a picture in JSON is refused" "$(vckpt timeline --svg --json | jq -r .error.text)" "--svg and --json: one of them"
refused "an epoch that is not there" 3 "epoch 9" timeline heat@9
refused "an epoch that is no number" 2 "heat@x" timeline heat@x
refused "a cluster that is not there" 3 "nosuch" log nosuch

for name in a/b .hidden .. "$(printf 'x%.0s' {1..65})" $'two\nlines' $'\xc3('; do
	vckpt log "$name" >"$TEST_DIR/said" 2>&1
	got=$?
	is "the name $(printf %q "${name:0:12}") is refused" $got 2
done
vckpt log 'große wärme 2' >"$TEST_DIR/said" 2>&1
is "one with blanks and umlauts is just not there" $? 3

if mount_ro=$(unshare -m sh -ec 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"' "$VCKPT_STORE" \
	bash -c '"$VCKPT_BUILD/vckpt" ls && "$VCKPT_BUILD/vckpt" log && "$VCKPT_BUILD/vckpt" show heat && "$VCKPT_BUILD/vckpt" timeline' 2>&1); then
	pass "a read-only store is read"
else
	fail "a read-only store is read" "$mount_ro"
fi
said=$(unshare -m sh -ec 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"' "$VCKPT_STORE" \
	"$VCKPT_BUILD/vckpt" checkpoint heat 2>&1)
is "a checkpoint into it is refused" $? 9
if grep -q "$VCKPT_STORE.*Read-only file system" <<<"$said"; then pass "and says where"; else fail "and says where" "$said"; fi

sed -i 's/"format":1/"format":5/' "$heat/epochs/000003.json" "$heat/history/000011.json"
says "an epoch of a newer vckpt is listed as what it is" '3  damaged: .*newer vckpt' vckpt ls
refused "and not shown" 7 'newer vckpt' show heat@3
says "a deed of a newer vckpt does not hide the others" 'restart +3  failed' vckpt log
sed -i 's/"format":1/"format":2/' "$VCKPT_STORE/vckpt-store"
refused "a store of a newer vckpt" 7 'vckpt-store.*newer vckpt' ls
refused "also for a checkpoint" 7 'vckpt-store.*newer vckpt' checkpoint heat
rm -rf "$VCKPT_STORE"
cp -r "$top/tests/data/pages/store" "$VCKPT_STORE"
chmod -R go= "$VCKPT_STORE"
says "which pages of an epoch were new, and which not" \
	'pages: 2 new, 0 more like those, 27 of earlier epochs, 0 of other guests, 11 zero; in 2 packs' vckpt show 'heat run@2'
is "and in JSON" "$(vckpt show 'heat run@1' --json | jq -c '.guests[1].pages | [.written, .stored, .shared, .inherited]')" "[0,0,29,0]"
is "how much was there already" "$(vckpt ls --json | jq -c '[.[].referred_bytes]')" "[118784,221184]"
rm -rf "$VCKPT_STORE"
cp -r "$top/tests/data/words/store" "$VCKPT_STORE"
mkdir "$VCKPT_STORE/clusters/heat run/lease"
chmod -R go= "$VCKPT_STORE"
says "how many lie in blocks of transposed words" '10 of them in blocks of transposed words' vckpt show 'heat run@2'
is "and in JSON too" "$(vckpt show 'heat run@1' --json | jq -c '[.guests[].pages.transposed]')" "[10,10]"
says "and they are whole" '2 of 2 epochs whole' vckpt check 'heat run' --read-data
fresh
sed -i 's/"uuid": *"./&x/' "$VCKPT_STORE/vckpt-store"
refused "a damaged store" 6 'vckpt-store' ls
is "which says what to do next" "$(vckpt ls 2>&1 | grep -c '^  next: put that file back')" 1
is "in JSON, too" "$(vckpt ls --json | jq -r .error.next | grep -c '^put that file back')" 1
fresh
truncate -s 300 "$heat/history/000011.json"
says "a damaged deed is told of" '[?] +-  damaged' vckpt log
truncate -s 300 "$heat/epochs/000003.json"
is "a damaged epoch names the others as a way out" \
	"$(vckpt show heat@3 2>&1 | grep -c '^  next: .*`vckpt restart CLUSTER@EPOCH`')" 1
vckpt ls --store "$TEST_DIR/none" >"$TEST_DIR/said" 2>&1
is "who has a cure needs no next step" "$(grep -c 'next:' "$TEST_DIR/said")" 0
refused "a store that is not there" 3 "$TEST_DIR/none" ls --store "$TEST_DIR/none"
touch "$TEST_DIR/file"
refused "a file" 9 "$TEST_DIR/file/vckpt-store: Not a directory" ls --store "$TEST_DIR/file"
mkdir "$TEST_DIR/folder"
refused "a folder that is no store" 3 "$TEST_DIR/folder" ls --store "$TEST_DIR/folder"
finish
