# Makes a root directory in the namespaces that it is in: this machine's programs, and nothing else
# of it but the directory in the first argument. Then becomes the rest of the arguments.
set -e
# This /proc is still that of the machine.
read -r pid rest < /proc/self/stat
dir=$1
shift
root=$dir/root
mkdir "$root"
mount -t tmpfs -o mode=755 none "$root"
cd "$root"
mkdir -p dev etc/systemd/system old proc run sys tmp var ".$dir"
chmod 1777 tmp
for name in bin lib lib64 sbin usr; do
    if [ -h "/$name" ]; then
        cp -P "/$name" .
    elif [ -d "/$name" ]; then
        mkdir "$name"
        mount --bind "/$name" "$name"
        mount -o remount,bind,ro "$name"
    fi
done
for name in group ld.so.cache nsswitch.conf passwd; do
    [ ! -e "/etc/$name" ] || cp "/etc/$name" etc
done
: > etc/machine-id
mount -t tmpfs -o mode=755 none dev
for name in full null random tty urandom zero; do
    : > "dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
mount -t tmpfs -o mode=755 none run
mount -t proc none proc
mount -t sysfs -o ro none sys
if [ -n "$CGROUP" ]; then
    mount -t cgroup2 none sys/fs/cgroup
fi
mount --bind "$dir" ".$dir"
pivot_root . old
cd /
umount -l old
rmdir old
echo "booted $pid"
exec "$@"
