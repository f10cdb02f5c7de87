# boot.sh IMAGE DIR NAME makes the root of a machine out of an image and what was
# written over it before (in DIR), and becomes its systemd. It is started as
# process 1 of fresh namespaces, for all but control groups.
set -eu
image=$1 dir=$2 name=$3

mount --make-rprivate /
root=$dir/root
mkdir -p "$dir/upper" "$dir/work" "$root"
# It does not matter if a crash of the machine outside loses what was written; so
# nothing is synced, and the kernel is told that this is meant.
rm -rf "$dir/work/work/incompat"
mount -t overlay -o "lowerdir=$image,upperdir=$dir/upper,workdir=$dir/work,volatile" overlay "$root"
cd "$root"

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -o remount,bind,rw proc/sys/net
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for d in null zero full random urandom tty; do
	: >dev/$d
	mount --bind /dev/$d dev/$d
done
mkdir dev/net dev/pts dev/shm
: >dev/net/tun
mount --bind /dev/net/tun dev/net/tun
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

hostname "$name"
pivot_root . mnt
umount -l /mnt
exec env -i container=steppe PATH=/usr/sbin:/usr/bin /lib/systemd/systemd
