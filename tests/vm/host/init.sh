#!/bin/sh
# The guest's first process: the host's root, read-only through 9p, under an overlay in memory; then /run/share/job.sh in it.
bb=/bin/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root

give_up() {
  echo "guest: $1"
  $bb poweroff -f
}

$bb mount -t proc proc /proc
for module in /boot-modules/*.ko; do $bb insmod "$module" || give_up "$module can't be loaded"; done

$bb mkdir -p /mnt/host /mnt/memory
$bb mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=1048576 host /mnt/host || give_up "no root by 9p"
$bb mount -t tmpfs -o size=75% memory /mnt/memory
$bb mkdir /mnt/memory/upper /mnt/memory/work /mnt/memory/root
root=/mnt/memory/root
$bb mount -t overlay -o lowerdir=/mnt/host,upperdir=/mnt/memory/upper,workdir=/mnt/memory/work overlay $root || give_up "no overlay"

$bb mkdir -p $root/proc $root/sys $root/dev $root/run
$bb mount -t proc proc $root/proc
$bb mount -t sysfs sysfs $root/sys
$bb mount -t devtmpfs devtmpfs $root/dev
$bb mkdir -p $root/dev/shm $root/dev/pts
$bb mount -t tmpfs shm $root/dev/shm
$bb mount -t devpts devpts $root/dev/pts
$bb mount -t tmpfs run $root/run
cgroups=$root/sys/fs/cgroup
if $bb grep -q bayestuner.cgroups=hybrid /proc/cmdline; then # controllers in v1, an empty v2 beside them, as older distributions have it
  $bb mount -t tmpfs -o mode=755 tmpfs $cgroups
  for name in cpuset memory freezer cpuacct pids; do
    $bb mkdir $cgroups/$name
    $bb mount -t cgroup -o $name $name $cgroups/$name || give_up "no cgroup v1 for $name"
  done
  $bb mkdir $cgroups/unified
  $bb mount -t cgroup2 cgroup2 $cgroups/unified || give_up "no cgroup v2"
else
  $bb mount -t cgroup2 cgroup2 $cgroups || give_up "no cgroup v2"
fi
$bb mkdir $root/run/share $root/run/modules
$bb mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576 share $root/run/share || give_up "no way to report"
$bb cp /modules/*.ko $root/run/modules/
$bb ip link set lo up

$bb chroot $root /bin/sh /run/share/job.sh
echo $? >$root/run/share/status
$bb sync
$bb poweroff -f
