#!/bin/bash
# vckpt flush, lead and show --frees without guests, with a store that was recorded.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
place=$TEST_DIR/place

cp -r "$top/tests/data/pages/store" "$VCKPT_STORE"
mkdir -p "$VCKPT_STORE/clusters/heat run/lease"
chmod -R go= "$VCKPT_STORE"

refused "a flush to nowhere" 3 "has no second place yet: .vckpt flush heat run DIR" flush 'heat run'
refused "--near without a folder" 2 "said of a folder" flush 'heat run' --near
refused "an epoch that is not there" 3 "epoch 9" flush 'heat run@9' "$place"
mkdir "$TEST_DIR/full" && touch "$TEST_DIR/full/mine"
refused "a folder with other things" 2 "is not empty and no store" flush 'heat run' "$TEST_DIR/full"
says "a flush" "$place: whole, .* written" vckpt flush 'heat run@1' "$place"
is "is told by ls" "$(vckpt ls --json | jq -c '[.[].copies | map(.state)]')" '[["whole","whole"],["whole","no"]]'
says "and for people" 'COPIES .*2 of 2.*1 of 2' bash -c '"$VCKPT_BUILD/vckpt" ls | tr "\n" " "'
# Behind commits, by what vckptd starts for that.
refused "--after-commit without a folder" 2 "said of a folder" flush 'heat run' --after-commit
behind()
{
	"$VCKPT_DAEMON" --copy-behind 'heat run' --store "$VCKPT_STORE" "$@"
}
says "nothing is marked" '^$' behind
says "a place is marked" "$place: whole" vckpt flush 'heat run@1' "$place" --after-commit
says "what is to come is told" "$place: pending" vckpt ls
is "in JSON" "$(vckpt ls --json | jq -c '[.[].copies[1] | [.after_commit, .state]]')" '[[true,"whole"],[true,"pending"]]'
mv "$place" "$place.away"
said=$(behind 2>&1)
is "it fails, and says why" "$?, $(grep -c "$place" <<<"$said")" "3, 1"
mv "$place.away" "$place"
says "so does ls" "$place: failed: .*$place" vckpt ls
said=$(: | { read -r; behind 2>&1; })
is "one that nobody waits for ends" $? 12
says "another one copies" '^$' behind
is "and all is there" "$(vckpt ls --json | jq -c '[.[].copies[1].state]')" '["whole","whole"]'
says "by hand again" "$place: whole, nothing was missing" vckpt flush 'heat run' "$place" --by-hand
is "nothing is marked" "$(vckpt ls --json | jq -c '[.[].copies[1].after_commit]')" '[false,false]'
vckpt prune 'heat run@2' --store "$place" >/dev/null
says "the rest" "$place: whole, .* written" vckpt flush 'heat run' --all
is "in JSON" "$(vckpt flush 'heat run' --json | jq -c '[.epochs, .copies, .places[0].state, .places[0].files]')" '[[2],2,"whole",0]'
says "show has both places" "copy  $place: whole" vckpt show 'heat run'
says "a place is checked as a store is" 'all is well|nothing is damaged|[0-9]+ epochs' vckpt check 'heat run' --read-data --store "$place"
refused "but is none" 7 "has copies of cluster heat run, and $VCKPT_STORE leads" flush 'heat run' --store "$place"
own=$(vckpt show 'heat run@1' --json --frees | jq .prune_frees)
is "what a prune would free is what it frees" \
	"$(vckpt prune 'heat run@1' --store "$place" --json | jq '.file_bytes + .freed_bytes')" "$own"
says "for people, too" 'its prune would free [0-9]' vckpt show 'heat run' --frees
says "a place that leads" "$place leads; newest checkpoint 2" vckpt lead 'heat run' --store "$place"
refused "is the only one" 7 "$place leads" flush 'heat run'
is "the list of both is one" "$(cmp "$VCKPT_STORE/clusters/heat run/places.json" "$place/clusters/heat run/places.json" && echo same)" same
says "and back" "$VCKPT_STORE leads" vckpt lead 'heat run'
says "a place is forgotten" '^$' vckpt flush 'heat run' "$place" --forget
is "and left alone" "$(vckpt ls --store "$place" --json | jq length)" 1
printf x >>"$VCKPT_STORE/clusters/heat run/places.json"
refused "a list that is damaged" 6 "places.json is damaged" flush 'heat run'
is "which check tells, with the cure" "$(vckpt check 'heat run' --json | jq -r '.[].findings[] | select(.file | endswith("places.json")) | .level + ": " + .cure')" \
	"harm: copy it from any of the places: each has the list"
says "does not hide what is there" 'heat run' vckpt ls
finish
