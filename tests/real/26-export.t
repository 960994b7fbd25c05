#!/bin/bash
# An export is good without vckpt: a guest with disks is killed and comes back by `virsh restore` alone, with memory
# and disks of the checkpoint; and by `vckpt import` the export is a checkpoint again.
# shellcheck source=tests/real/vckpt.sh
. "$(dirname "$0")/vckpt.sh"
# shellcheck source=tests/disks/disks.sh
. "$here/../disks/disks.sh"
folder=$TEST_DIR/export

disks_start n1
mark exported
a=$(count)
# Without a hold: whom nobody tells RESTORED keeps it up for a minute.
expect_ok "a checkpoint, its pages compressed as it suits" vckpt checkpoint heat --drain none --codec auto
expect_match "which is told" "$(vckpt show heat)" '^ +compressed: .* %'
expect_ok "its export" vckpt export heat "$folder"
expect_eq "has these files" "$(cd "$folder" && stat -c '%a %n' . * | paste -sd,)" \
	"700 .,600 manifest.json,600 n1-vda.base,600 n1-vda.qcow2,600 n1-vdb.base,600 n1-vdb.qcow2,600 n1.save"
mark later
writes_on || fail "the writer goes on"

kill_guest n1
"$lab" exec h1 pkill -KILL -x vckptd
mv "$VCKPT_STORE" "$VCKPT_STORE.away"
expect_ok "the guest starts by virsh alone" "$lab" exec h1 virsh restore "$folder/n1.save"
expect_eq "as it was at the checkpoint" "$(marked)" exported
said=$(agree)
expect_match "memory and disks agree" "$said" '^agree'
expect_ok "and are of it" test "${said#agree }" -ge "$a"
expect_match "the disks in use are those of the export" "$("$lab" exec h1 virsh -q domblklist n1)" "$folder/n1-vda.qcow2"
kill_guest n1

mv "$VCKPT_STORE.away" "$VCKPT_STORE"
expect_ok "the export is imported" vckpt import "$folder"
expect_ok "a restart from what was imported" vckpt restart heat@2
expect_eq "is of the same instant" "$(marked)" exported
expect_match "with its disks" "$(agree)" '^agree'
finish
