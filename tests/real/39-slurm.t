#!/bin/bash
# A cluster as a job of Slurm (examples/slurm), by Slurm's own daemons on two hosts that reach each other by ssh:
# started, suspended when its time is up or others have priority, brought back each time, restarted when a guest fails;
# right answer at its end.
# shellcheck disable=SC2016 # scripts for other shells
# shellcheck source=tests/hosts/ssh.sh
. "$(dirname "$0")/../hosts/ssh.sh"
export SLURM_CONF=$TEST_DIR/slurm.conf
unset VCKPT_SOCKET

# on_h1 COMMAND...: with what a user of Slurm has.
on_h1()
{
	"$lab" exec h1 "$VCKPT_BUILD/run" "$@"
}

vckpt()
{
	on_h1 vckpt "$@"
}

# The launcher of a host, which is in the lab's network by itself.
ssh_between_hosts()
{
	reach_hosts
	sed -i 's/nsenter -t [0-9]* -n //' "$TEST_DIR/reach"
}

slurm_config()
{
	cat >"$SLURM_CONF" <<-X
		ClusterName=lab
		SlurmctldHost=h1(10.99.0.201)
		SlurmUser=root
		SlurmdUser=root
		AuthType=auth/munge
		CryptoType=crypto/munge
		MpiDefault=none
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		SelectType=select/linear
		SlurmdParameters=config_overrides
		ReturnToService=2
		KillWait=60
		PreemptType=preempt/partition_prio
		PreemptMode=REQUEUE
		Epilog=$TEST_DIR/epilog
		StateSaveLocation=/run/slurm/state
		SlurmdSpoolDir=/run/slurm/spool
		SlurmctldPidFile=/run/slurmctld.pid
		SlurmdPidFile=/run/slurmd.pid
		SlurmctldLogFile=$TEST_DIR/slurmctld.log
		SlurmdLogFile=$TEST_DIR/slurmd.%n.log
		NodeName=h1 NodeAddr=10.99.0.201 CPUs=2 State=UNKNOWN
		NodeName=h2 NodeAddr=10.99.0.202 CPUs=2 State=UNKNOWN
		PartitionName=low Nodes=h1,h2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
		PartitionName=high Nodes=h1,h2 MaxTime=INFINITE State=UP PriorityTier=2
	X
	# Of the cgroups nothing is used, but without this slurmd wants them mounted.
	echo CgroupPlugin=cgroup/v1 >"$TEST_DIR/cgroup.conf"
	head -c 1024 /dev/urandom >"$TEST_DIR/munge.key"
	chmod 600 "$TEST_DIR/munge.key"
}

slurm_start()
{
	local h
	slurm_config
	epilog
	for h in h1 h2; do
		"$lab" exec $h sh -ec 'mkdir -p /run/munge /run/slurm/state /run/slurm/spool
			munged --force --key-file "$1/munge.key" --pid-file /run/munge/munged.pid --log-file "$1/munge.$2.log" \
				--seed-file /run/munge/seed
			[ "$2" != h1 ] || slurmctld
			slurmd -N "$2"' - "$TEST_DIR" $h >"$TEST_DIR/slurm.$h.log" 2>&1 ||
			give_up "Slurm does not start on $h: $(tail -n 5 "$TEST_DIR"/slurm*.log)"
	done
	wait_until 60 nodes_idle || give_up "Slurm has no idle nodes: $(on_h1 sinfo; tail -n 20 "$TEST_DIR"/slurm*.log)"
}

# A site has vckpt where its epilog finds it, and says in vckpt.conf what is said here.
epilog()
{
	cat >"$TEST_DIR/epilog" <<-X
		#!/bin/sh
		export PATH=$PATH SLURM_CONF=$SLURM_CONF VCKPT_STORE=$VCKPT_STORE VCKPT_CONFIG=/dev/null VCKPT_LAUNCHER="$VCKPT_LAUNCHER"
		exec "$VCKPT_BUILD/run" "$top_src/examples/slurm/epilog" >>"$TEST_DIR/epilog.log" 2>&1
	X
	chmod +x "$TEST_DIR/epilog"
}

nodes_idle()
{
	[ "$(on_h1 sinfo -h -p low -t idle -o %D)" = 2 ]
}

# What starts the guests of a job and the job in them: in the lab they are there already.
starter()
{
	cat >"$TEST_DIR/start" <<-X
		#!/bin/sh
		echo "\$@" >"$TEST_DIR/started"
		vckpt adopt heat h1:n1 h2:n2
	X
	chmod +x "$TEST_DIR/start"
}

job_is()
{
	[ "$(on_h1 squeue -h -j "$slurm_job" -o %T)" = "$1" ]
}

# logged N PATTERN: in N lines at least.
logged()
{
	[ "$(vckpt log heat | grep -Ec "$2")" -ge "$1" ]
}

# comes_back NAME N: the job of Slurm begins again as soon as it may, and heat is resumed for the Nth time.
comes_back()
{
	expect_ok "$1: it comes back" wait_until 120 again "$2"
	heat_moves "$1: and goes on"
}

# Slurm lets a job that was requeued wait for a while.
again()
{
	on_h1 scontrol update "JobId=$slurm_job" StartTime=now >/dev/null 2>&1
	job_is RUNNING && logged "$1" 'resume .*running'
}

lab_start 2 2
ssh_between_hosts
slurm_start
starter
export CLUSTER=heat START=$TEST_DIR/start DONE="test -e $TEST_DIR/done" EVERY=100000
slurm_job=$(on_h1 sbatch --parsable -p low -N 2 --time 60 -o "$TEST_DIR/job.out" "$top_src/examples/slurm/vckpt.sbatch")
expect_match "a cluster is a job of Slurm" "$slurm_job" '^[0-9]+$'
expect_ok "it is started on both nodes" wait_until 60 grep -qx "h1 h2" "$TEST_DIR/started"
wait_until 60 eval 'vckpt status heat >/dev/null 2>&1' || give_up "no cluster: $(cat "$TEST_DIR/job.out")"
job_start "--host n1:2,n2:2 heat2d $(heat_args)"
job_wait_step 80 || give_up "the job does not start: $(job_output)"
# What Slurm does by --signal when the time limit is near, a minute or two later.
on_h1 scancel --batch --signal=USR1 "$slurm_job"
expect_ok "when its time is nearly up it is suspended" wait_until 60 logged 1 'suspend .*its time is up'
expect_ok "and queued again" wait_until 60 job_is PENDING
comes_back "after its time was up" 1

before=$(on_h1 sbatch --parsable -p high -N 2 -o /dev/null --wrap 'true')
expect_ok "a job with priority: it is suspended" wait_until 120 logged 1 'suspend .*Slurm wants its nodes'
expect_ok "and the other one runs" wait_until 120 eval '[ -z "$(on_h1 squeue -h -j "$before" -o %T 2>/dev/null)" ]'
comes_back "after that" 2

kill_on h1 n1
expect_ok "a guest fails: all are restarted" wait_until 60 logged 1 'restart .*running'
heat_moves "and the job goes on"
heat_ends "the job ends right"
touch "$TEST_DIR/done"
kill_on h1 n1
kill_on h2 n2
expect_ok "Slurm's job ends with it" wait_until 60 eval '[ -z "$(on_h1 squeue -h -j $slurm_job 2>/dev/null)" ]'
expect_match "as done" "$(on_h1 scontrol show job "$slurm_job")" 'JobState=COMPLETED'
finish
