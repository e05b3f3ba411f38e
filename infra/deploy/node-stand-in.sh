#!/usr/bin/env bash
# Stands in for node:24-slim where no registry of images can be reached: this machine's Node 24 and npm, a shell, a few
# tools, and exactly the shared libraries that they need. For tests only. Usage: node-stand-in.sh TAG NODE
set -euo pipefail
tag=${1:?name the tag of the image}
node=$(readlink -f "${2:?name a node 24 program}")
npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{etc/ssl/certs,tmp,root,home/node,usr/local/bin,usr/local/lib/node_modules,usr/bin,usr/lib,usr/lib64,usr/sbin}
chmod 1777 "$root/tmp"
for folder in bin lib lib64 sbin; do ln -s "usr/$folder" "$root/$folder"; done

libraries() { ldd "$1" 2>/dev/null | grep -oE '/[^ ]+' || true; }
put() {
  local program library folder
  program=$(readlink -f "$1")
  install -D -m 755 "$program" "$root$2"
  for library in $(libraries "$program"); do
    folder=$root$(readlink -f "$(dirname "$library")")
    mkdir -p "$folder"
    cp -Ln "$library" "$folder/"
  done
}

put "$node" /usr/local/bin/node
put /bin/sh /usr/bin/sh
for tool in env ls cat mkdir cp mv rm ln chmod chown id sleep test true false mktemp uname; do
  put "$(type -P "$tool")" "/usr/bin/$tool"
done
# Loaded by name when host names are resolved, so ldd does not list them.
for library in libnss_dns.so.2 libnss_files.so.2 libresolv.so.2; do
  folder=$(dirname "$(ldconfig -p | grep -m1 -oE "/[^ ]*/$library")")
  mkdir -p "$root$(readlink -f "$folder")"
  cp -Ln "$folder/$library" "$root$(readlink -f "$folder")/"
done

cp -r "$npm" "$root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
printf 'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnode:x:1000:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
# npm inside has to trust what npm outside trusts.
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
chown -R 1000:1000 "$root/home/node"

tar -C "$root" -c . | docker import \
  -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  -c 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' \
  -c 'CMD ["node"]' - "$tag"
