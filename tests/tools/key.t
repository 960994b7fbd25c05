#!/bin/bash
# Keys: made, named, used, changed, lost, and readable by others; with a recorded store (tests/data/store) and a recorded
# encrypted one (tests/data/sealed).
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
unset CREDENTIALS_DIRECTORY
cp -r "$top/tests/data/sealed/store" "$VCKPT_STORE"
cp -r "$top/tests/data/sealed/keys" "$TEST_DIR/keys"
heat=$VCKPT_STORE/clusters/'heat run'
mkdir "$heat/lease"
chmod -R go= "$VCKPT_STORE" "$TEST_DIR/keys"

old=$(vckpt key id "$TEST_DIR/keys/heat.key")
is "a cluster says what it is encrypted with" "$(vckpt key show --json | jq -r '"\(.key) \(.here) \(.plain_disks)"')" \
	"$old false false"
says "and that the key is not here, with the cure" 'not on this host: .*/etc/vckpt/keys' vckpt key show
says "a checkpoint shows that it is encrypted" '^    encrypted$' vckpt show

says "a key is made" '^key [0-9a-f]{16}$' vckpt key new "$TEST_DIR/new"
is "that nobody else can read" "$(stat -c %a "$TEST_DIR/new")" 600
refused "a key is not overwritten" 2 'is there already' key new "$TEST_DIR/new"
refused "another key wants the one before" 7 "keeps its key.*$old" key use 'heat run' "$TEST_DIR/new"
place=$TEST_DIR/place
says "a copy at another place" "$place: whole" vckpt flush 'heat run' "$place"
export CREDENTIALS_DIRECTORY=$TEST_DIR/keys
said=$(vckpt key use 'heat run' "$TEST_DIR/new")
says "which may be a credential" 'which opens the 1 that were encrypted' echo "$said"
says "of the copy it is said that it needs the key before" "$place: .*the key before until .vckpt flush --all heat run" echo "$said"
new=$(vckpt key id "$TEST_DIR/new")
# by_there: which key opens the copy.
by_there()
{
	jq -r .body.key "$place/clusters/heat run/data/000001/n1.key"
}
is "which is so" "$(by_there)" "$old"
says "a flush of all epochs" "$place: whole" vckpt flush --all 'heat run'
is "cures that" "$(by_there)" "$new"
is "the log tells of both" "$(vckpt log 'heat run' --json | jq -r '.[] | select(.action == "key") | .state' | paste -sd,)" "failed,in use"
is "why one failed" "$(vckpt log 'heat run' --json | jq -r '[.[] | select(.error)][0].error' | grep -c "keeps its key.*$old")" 1
says "who changed it, to which, and how many epochs" \
	"key +-  in use .* vckpt key, pid [0-9]+, user [^:]+: key $(vckpt key id "$TEST_DIR/new"); 1 that" vckpt log 'heat run'
is "the data key names the new one" "$(jq -r .body.key "$heat/data/000001/n1.key")" "$new"
unset CREDENTIALS_DIRECTORY
is "which is found where it was" "$(vckpt key show --json | jq -r '"\(.key) \(.here)"')" "$new true"
chmod 644 "$TEST_DIR/new"
refused "a key that others can read is refused" 7 'chmod 600' key use 'heat run' "$TEST_DIR/new"
says "and that is said" "the key $new is needed: .*chmod 600" vckpt key show
refused "also before a domain is adopted" 7 'chmod 600' adopt other --key "$TEST_DIR/new" n1
is "of which nothing is left" "$(vckpt key show other --json 2>&1 | jq -r .key)" null
chmod 600 "$TEST_DIR/new"
chown 12345 "$TEST_DIR/new"
refused "one that belongs to somebody else, too" 7 'belongs to user 12345' key id "$TEST_DIR/new"
head -c 20 /dev/urandom >"$TEST_DIR/bad"
chmod 600 "$TEST_DIR/bad"
refused "what is no key" 7 'holds no key: .vckpt key new' key id "$TEST_DIR/bad"
refused "a folder" 7 'no regular file' key id "$TEST_DIR"
refused "what is not there" 3 'does not exist' key id "$TEST_DIR/none"
refused "half a command" 2 'say new FILE' key use heat
refused "no such cluster" 3 'nosuch' key use nosuch "$TEST_DIR/keys/heat.key"
cp -r "$top/tests/data/store/clusters/heat" "$VCKPT_STORE/clusters/"
mkdir "$VCKPT_STORE/clusters/heat/lease" "$VCKPT_STORE/clusters/heat/data"
says "a cluster without a key says so" 'not encrypted; .vckpt key use heat FILE' vckpt key show heat
says "and gets one" "key $old from now on\$" vckpt key use heat "$TEST_DIR/keys/heat.key" --plain-disks
is "which the log has, too" "$(vckpt log heat --json | jq -r '[.[] | select(.action == "key")] | map(.state) | join(",")')" "in use"
is "disks are known not to be encrypted" "$(vckpt key show heat --json | jq .plain_disks)" true
finish
