# shellcheck shell=bash
# Sourced by tpu.sh: what --help prints.

help_all() {
  cat << 'END'
Rent TPUs, start a run on all of their hosts, watch it, and give them back.

  ./launch/tpu.sh create     rent the slices and wait until they are there
  ./launch/tpu.sh start      copy the code to all hosts and install it
  ./launch/tpu.sh run        start a command on all hosts; it goes on when you log out
  ./launch/tpu.sh logs       follow what a host prints
  ./launch/tpu.sh status     the state of the slices and of the run on each host
  ./launch/tpu.sh fetch      copy the logs, and a run directory, to this machine
  ./launch/tpu.sh stop       ask the run to save and end (SIGTERM), and wait for it
  ./launch/tpu.sh delete     give the slices back
  ./launch/tpu.sh supervise  all of these, and again after each preemption, until the run is done

./launch/tpu.sh COMMAND --help shows the options of a command. Those of every command:

  --name=NAME        what the slices are called
  --project=PROJECT  the project that pays (else $CLOUDSDK_CORE_PROJECT)
  --zone=ZONE        where (else $CLOUDSDK_COMPUTE_ZONE)
  --topology=SLICE   v4:2x2x4, v5e:8x8, v5p:2x2x4, v6e:4x4, tpu7x:2x2x1 ...: generation, chips along each axis.
                     Slices of tpu7x are instance groups of Compute Engine, all others queued resources of the
                     Cloud TPU API
  --num_slices=1     how many of them, joined by the data-centre network
  --ssh=external     how hosts are reached: external, internal (from the same network) or iap (a tunnel)
  --parallel=16      how many hosts are spoken to at a time
  --dry_run          print the commands and run none

Every option can stand in the environment instead: --topology in IM_JAX_TOPOLOGY, --num_slices in
IM_JAX_NUM_SLICES, and so on. Exit codes: 0 done, 1 failed, 2 a mistake in the command line.
END
}

help_create() {
  cat << 'END'
./launch/tpu.sh create --name=NAME --project=PROJECT --zone=ZONE --topology=v5e:8x8 [options]

Rents the slices and waits until they are ready. Interrupted, the request stands: `status` shows it, `delete` ends it.

  --provisioning=on_demand   on_demand, spot (cheap, may be taken away at any time) or reserved
  --reservation=NAME         tpu7x: the reservation that reserved slices are of
  --runtime_version=VERSION  the image of a queued resource (default: by generation)
  --valid_until=DURATION     give up a queued resource that is not there by then, as in 6h
  --network=, --subnetwork=  where the machines are (default: the default network)
  --address=external         internal: machines without an external address; then --ssh=internal or --ssh=iap
  --service_account=EMAIL    whose rights the machines have
  --labels=KEY=VALUE,...     for the bill
  --disk_gb=200              tpu7x: the size of a machine's disk
  --poll=30                  seconds between two looks at the state
END
}

help_start() {
  cat << 'END'
./launch/tpu.sh start --name=NAME --project=PROJECT --zone=ZONE --topology=v5e:8x8 [options]

Copies the files that git tracks here, as they are now, to all hosts, and installs im_jax into an environment of its
own there (~/im_jax). A host without Python 3.11 or newer gets one through uv.

  --ref=COMMIT       what is copied: a commit, branch or tag, instead of the files as they are
  --extras=tpu       extras of the package, as in tpu,wandb
  --retry_pause=10   seconds between tries to reach a machine that has just started
END
}

help_run() {
  cat << 'END'
./launch/tpu.sh run --name=NAME --project=PROJECT --zone=ZONE --topology=v5e:8x8 -- COMMAND...

Starts the command on all hosts, in the directory of the code and with im_jax's Python first on PATH, and returns. The
run does not end with the connection. Every host keeps its output (~/im_jax/log.txt) and its exit code. Words are passed
on as they are; no shell reads them again. Where a host cannot start it, the others are stopped.

  ./launch/tpu.sh run ... -- python -m im_jax.train --config=configs/llama2_7b.py --workdir=/mnt/bucket/run
END
}

help_logs() {
  cat << 'END'
./launch/tpu.sh logs --name=NAME --project=PROJECT --zone=ZONE --topology=v5e:8x8 [options]

Shows the last lines of a host's output and follows it until the run ends there.

  --host=0       its number in the order of `status`, or all: the output of every host, each line with its host
  --lines=50     how many lines to begin with
  --no_follow    show them and return
END
}

help_status() {
  cat << 'END'
./launch/tpu.sh status --name=NAME --project=PROJECT --zone=ZONE --topology=v5e:8x8

One line for the slices (absent, waiting, ready, repairing, preempted, failed), then one for each host: its run (none,
running, ended with its exit code, lost where the host was started anew), and the last line of its output.
END
}

help_fetch() {
  cat << 'END'
./launch/tpu.sh fetch --name=NAME --project=PROJECT --zone=ZONE --topology=v5e:8x8 --output=DIR [--workdir=PATH]

Copies the output of every host to DIR/logs, and the run directory to DIR/workdir.

  --workdir=PATH  gs://BUCKET/DIR, or a directory on the first host
END
}

help_stop() {
  cat << 'END'
./launch/tpu.sh stop --name=NAME --project=PROJECT --zone=ZONE --topology=v5e:8x8 [--grace=600]

Sends SIGTERM to the run on all hosts, so that it saves and ends, and waits for it. What still runs after --grace
seconds is killed, and named.
END
}

help_delete() {
  cat << 'END'
./launch/tpu.sh delete --name=NAME --project=PROJECT --zone=ZONE --topology=v5e:8x8

Gives the slices back, with all that is on their disks. A run that goes on there is not saved: `stop` comes first.
END
}

help_supervise() {
  cat << 'END'
./launch/tpu.sh supervise --name=NAME --project=PROJECT --zone=ZONE --topology=v5e:8x8 [options] -- COMMAND...

Rents the slices, installs, runs the command and looks after it until it is done. What was preempted is rented anew and
the same command started again, which goes on from its last checkpoint: keep --workdir where it outlives the machines.
A run that is going on already is watched, not started. All options of `create` and `start` are taken.

By the exit codes of the hosts: all 0, done. 2, a mistake in the configuration: stops at once, exit code 2. 42
(preempted and saved) and 43 (a peer was lost): started again, counted as a preemption. Anything else: a failure,
started again --max_failures times. A host whose TPU does not open, or whose run ends by 139 twice in a row, is a bad
node: the slices are replaced, and nothing is counted.

  --max_failures=3          how often it is started again after a failure; then it is given up, exit code 1
  --max_preemptions=10000   likewise, after a preemption
  --max_replacements=10     likewise, where there was a bad node or no slices were to be had
  --poll=60                 seconds between two looks
  --max_silence=20          after so many looks in a row without an answer from a host, the slices are replaced; not
                            where no host answers, or the cloud does not: then the fault is here, and it waits
  --grace=600               seconds that the other hosts have to end by themselves, once one has
  --when_done=keep          delete: give the slices back at the end, whatever the end is
END
}
