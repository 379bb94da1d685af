#!/usr/bin/env bash
# Lays out the root file system of the image in the directory $1, from the Debian that this runs in: what a program that
# is linked to glibc and libstdc++ needs to run, and no shell, no package manager, no program at all.
#
# The packages that the files come from are written down as distroless images do it, so that scanners see them, and
# their licences come along. Every time is set to the epoch: the same packages give the same bytes.
set -euo pipefail
root=$1
packages=(base-files gcc-12-base libc6 libgcc-s1 libstdc++6)
# Those of gcc-12-base are also the licences of its libraries.
licences=(base-files gcc-12-base libc6)

mkdir -p "$root"/{app,etc,tmp,home/nonroot,var/lib/dpkg/status.d}

# The libraries and the loader, each at its place and as a file: /lib/x86_64-linux-gnu/libc.so.6, /lib64/ld-linux-x86-64.so.2.
libraries='/(ld-linux[^/]*|lib(c|m|dl|rt|pthread|resolv|gcc_s|stdc\+\+))\.so\.[0-9]+$'
dpkg --listfiles libc6 libgcc-s1 libstdc++6 | grep -E "$libraries" | while read -r file; do
  install -D --mode=0755 "$file" "$root$file"
done

for package in "${packages[@]}"; do
  dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"
done
for package in "${licences[@]}"; do
  install -D --mode=0644 {,"$root"}/usr/share/doc/"$package"/copyright
done
cp /usr/lib/os-release "$root/etc/os-release"
printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin' \
  'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$root/etc/passwd"
printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' 'nonroot:x:65532:' >"$root/etc/group"
printf '%s\n' 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
chown 65532:65532 "$root/home/nonroot"
find "$root" -exec touch --no-dereference --date=@0 {} +
