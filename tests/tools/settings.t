#!/bin/bash
# vckpt.conf: what it sets counts before what is built in and behind what is said; half a file is refused as a whole.
# shellcheck source=tests/tools/lib.sh
. "$(dirname "$0")/lib.sh"
export VCKPT_CONFIG=$TEST_DIR/vckpt.conf
unset VCKPT_STORE

# conf LINE...
conf()
{
	printf '%s\n' "$@" >"$VCKPT_CONFIG"
}

# wrong NAME LINE-NUMBER WORDS LINE...: such a file is refused, with its name and the line.
wrong()
{
	local name=$1 line=$2 words=$3
	shift 3
	conf "$@"
	refused "$name" 2 "^vckpt ls: $VCKPT_CONFIG:$line: .*$words" ls
}

conf '# of this machine' '[vckpt]' "store = $TEST_DIR/set ; not there"
refused "the file names the store" 3 "$TEST_DIR/set" ls
VCKPT_STORE=$TEST_DIR/said refused "the environment counts before it" 3 "$TEST_DIR/said" ls
VCKPT_STORE=$TEST_DIR/said refused "an option before both" 3 "$TEST_DIR/told" ls --store "$TEST_DIR/told"
conf '[vckpt]' "socket = $TEST_DIR/none/s"
said=$(vckpt doctor 2>&1)
if grep -q "no folder $TEST_DIR/none:" <<<"$said"; then pass "a socket"; else fail "a socket" "$said"; fi
conf '[checkpoint]' 'engine = stop-copy' 'gate = socket' 'drain = require' 'codec = zstd' 'level = 3' 'limit = 100' \
	'freeze-fs = yes' '[outside]' 'network-file = refuse' '[hooks]' 'policy = go-on' 'limit = 5' '[deadlines]' 'prepare = 20' 'quiet = 2.5' 'restore=0.001'
refused "all others can be set" 3 "$TEST_DIR/nowhere" checkpoint heat --store "$TEST_DIR/nowhere"

conf '[vckpt]' "store = $TEST_DIR/set" "key = $TEST_DIR/all.key" '[cluster heat run]' "key = $TEST_DIR/heat.key"
refused "a cluster's key" 3 "$TEST_DIR/heat.key does not exist" adopt "heat run" n1
refused "the key of all others" 3 "$TEST_DIR/all.key does not exist" adopt other n1
refused "and one that is said counts before" 3 "$TEST_DIR/said.key does not exist" adopt other n1 --key "$TEST_DIR/said.key"
wrong "a key without a whole path" 2 'key takes an absolute path' '[cluster heat]' 'key = heat.key'
wrong "two keys" 3 'key is set twice' '[cluster heat]' 'key = /a' 'key = /b'
wrong "another setting of a cluster" 2 "no setting 'store' in \[cluster heat\]" '[cluster heat]' 'store = /a'
wrong "a name that would be cut off" 2 'is too long: say --key' "[cluster $(printf 'x%.0s' {1..60})]" 'key = /a'

said=$(vckpt watch --engine nosuch heat 2>&1)
if [ $? -eq 2 ] && grep -q -e "--engine does not know 'nosuch'" <<<"$said"; then
	pass "options are checked as settings are"
else
	fail "options are checked as settings are" "$said"
fi

wrong "a setting there is not" 3 "there is no setting 'stoer' in \[vckpt\]" '[vckpt]' '' 'stoer = /x'
wrong "a section there is not" 2 "in \[vckptd\]" '[vckptd]' 'store = /x'
wrong "a setting in no section" 1 "in \[\]" 'store = /x' '[vckpt]'
wrong "a setting of another section" 2 "no setting 'codec' in \[vckpt\]" '[vckpt]' 'codec = lz4'
wrong "a value there is not" 2 "codec does not know 'gzip': it takes one of auto, lz4, zstd, none" '[checkpoint]' 'codec = gzip'
wrong "a policy there is not" 2 "prefer, require" '[checkpoint]' 'drain = maybe'
wrong "a kind there is not" 2 "no setting 'file' in \[outside\]" '[outside]' 'file = refuse'
wrong "a tree without width" 2 "number of hosts from 1 to 1024" '[launch]' 'width = 0'
wrong "a tree without patience" 2 "number of seconds" '[launch]' 'patience = 0'
wrong "a policy of a kind there is not" 2 "warn, refuse" '[outside]' 'launcher = fail'
wrong "a policy of hooks there is not" 2 "fail, go-on, none" '[hooks]' 'policy = ignore'
wrong "a level too high" 2 "0 to 22" '[checkpoint]' 'level = 23'
wrong "half a level" 2 "0 to 22" '[checkpoint]' 'level = 2.5'
wrong "no limit" 2 "from 1" '[checkpoint]' 'limit = 0'
wrong "a time that is none" 2 "seconds" '[deadlines]' 'quiet = soon'
wrong "a time with a unit" 2 "seconds" '[deadlines]' 'quiet = 2s'
wrong "infinite time" 2 "seconds" '[deadlines]' 'quiet = inf'
wrong "a path that is not absolute" 2 "absolute" '[vckpt]' 'store = store'
wrong "no value" 2 "absolute" '[vckpt]' 'store ='
wrong "something set twice" 3 "quiet is set twice" '[deadlines]' 'quiet = 1' 'quiet = 2'
wrong "a value on two lines" 3 "twice" '[vckpt]' 'launcher = ssh' '   {host}'
wrong "neither section nor setting" 2 "neither" '[vckpt]' 'store /x' 'stoer = /x'
wrong "a section that is not closed" 1 "neither" '[vckpt' 'store = /x'
wrong "a line too long" 2 "too long" '[vckpt]' "launcher = $(printf 'x%.0s' {1..300})"
wrong "the first mistake is told" 2 "gzip" '[checkpoint]' 'codec = gzip' 'level = 99'
printf '[vckpt]\nstore = /var/lib/vck' >"$VCKPT_CONFIG"
refused "a file that breaks off" 2 "$VCKPT_CONFIG:2: the file ends in the middle of a line" ls
refused "by every command" 2 "$VCKPT_CONFIG:2:" doctor
says "but help is given" "Lists the committed" vckpt ls --help
rm "$VCKPT_CONFIG"
refused "a named file that is not there" 9 "cannot read the settings in $VCKPT_CONFIG" ls --store "$TEST_DIR/nowhere"
mkdir "$VCKPT_CONFIG"
refused "a folder" 9 "cannot read $VCKPT_CONFIG" ls
finish
