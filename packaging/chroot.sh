#!/bin/sh
# chroot.sh IMAGE DIR COMMAND... runs a command in a Debian made of an image that
# stays as it is and what was written over it before, in DIR. It is started in a
# mount namespace of its own.
set -eu
image=$1 dir=$2
shift 2

mkdir -p "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay -o "lowerdir=$image,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root"
cd "$dir/root"
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
for d in null zero random urandom; do
	: >dev/$d
	mount --bind /dev/$d dev/$d
done
mkdir dev/net
: >dev/net/tun
mount --bind /dev/net/tun dev/net/tun
mount --bind /etc/resolv.conf etc/resolv.conf
exec chroot . env -i DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
