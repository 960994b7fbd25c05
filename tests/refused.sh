# shellcheck shell=bash
# refused.sh: what a refusal must be like; for all who have vckpt(), pass() and fail().

# refused NAME CODE PATTERN vckpt-arguments...: with this exit code, in one sentence that matches;
# what to do next may stand below it.
refused()
{
	local name=$1 code=$2 pattern=$3 said got
	shift 3
	said=$(vckpt "$@" 2>&1)
	got=$?
	if [ $got -ne "$code" ]; then
		fail "$name" "exit code $got, not $code: $said"
	elif ! grep -Eq -- "$pattern" <<<"$said"; then
		fail "$name" "no '$pattern' in: $said"
	elif [ "$(grep -vc '^  next: ' <<<"$said")" -ne 1 ]; then
		fail "$name" "more than one sentence: $said"
	else
		pass "$name"
	fi
}
