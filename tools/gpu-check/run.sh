#!/bin/sh
# Checks and measures this machine's graphics processor from this folder alone: no network, and nothing is installed. See README.md.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
  echo "gpu-check: expected Linux on x86_64, found $(uname -s) on $(uname -m); pack a folder on such a machine" >&2
  exit 2
fi
# Beside the packed files, or in a temporary folder where these cannot be written to.
GPU_CHECK_UNPACKED=${GPU_CHECK_UNPACKED:-$here/unpacked}
mkdir -p "$GPU_CHECK_UNPACKED" 2>/dev/null && [ -w "$GPU_CHECK_UNPACKED" ] || GPU_CHECK_UNPACKED=$(mktemp -d)
export GPU_CHECK_UNPACKED
if [ ! -x "$GPU_CHECK_UNPACKED/node" ]; then
  gzip -dc "$here/node.gz" > "$GPU_CHECK_UNPACKED/node.new"
  chmod +x "$GPU_CHECK_UNPACKED/node.new"
  mv "$GPU_CHECK_UNPACKED/node.new" "$GPU_CHECK_UNPACKED/node"
fi
# The loader of this folder is for machines that have none.
has_loader() {
  for folder in $(echo "${LD_LIBRARY_PATH:-}" | tr ':' ' ') \
    /usr/lib/x86_64-linux-gnu /lib/x86_64-linux-gnu /usr/lib64 /lib64 /usr/lib /usr/local/lib; do
    if [ -e "$folder/libvulkan.so.1" ]; then return 0; fi
  done
  return 1
}
if [ -e "$here/loader/libvulkan.so.1" ] && ! has_loader; then
  LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/loader"
  export LD_LIBRARY_PATH
fi
if ! "$GPU_CHECK_UNPACKED/node" --version > /dev/null; then
  echo "gpu-check: Node does not start: it needs glibc 2.28 or later and libstdc++.so.6" >&2
  echo "gpu-check: (Debian, Ubuntu: apt-get install libstdc++6; Fedora: dnf install libstdc++)" >&2
  exit 2
fi
exec "$GPU_CHECK_UNPACKED/node" "$here/lib/gpu-check.mjs" "$@"
