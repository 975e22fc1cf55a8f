#!/usr/bin/env bash
# Times everything on this machine's CUDA device, part by part; stands beside ospsim-device.
#   ./record.sh FOLDER [--quick|--memcheck] [PART...]   writes FOLDER/PART.jsonl; without parts: all
# --quick: tiny sizes, to see whether everything works; --memcheck: these under compute-sanitizer.
# Needs a driver, cuBLASLt and cuDNN: where the loader does not find these two, those of PyTorch's
# wheels are used. With PyTorch there, its times are recorded beside ours (part peers).
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
if [ $# -lt 1 ] || [ "${1:0:1}" = - ]; then
  sed -n '2,6s/^# \?//p' "$0" >&2
  exit 2
fi
folder=$1
shift
quick=() checker=()
if [ "${1:-}" = --memcheck ]; then
  checker=(compute-sanitizer --tool memcheck --error-exitcode 1 --log-file "$folder/memcheck-%p.log")
  quick=(--quick)
  shift
elif [ "${1:-}" = --quick ]; then
  quick=(--quick)
  shift
fi
parts=("$@")
[ ${#parts[@]} = 0 ] && parts=(memory codecs attention linear forward choices ranks peers)
mkdir -p "$folder"

python=$(command -v python3 || true)
wheels=$([ -z "$python" ] || "$python" - <<'PYTHON'
import glob, os, sysconfig
folders = {os.path.dirname(f) for name in ("libcublasLt.so.1[0-9]", "libcudnn.so.9", "libnvrtc.so.1[0-9]")
           for f in glob.glob(os.path.join(sysconfig.get_path("purelib"), "nvidia", "*", "lib", name))}
print(":".join(sorted(folders)))
PYTHON
)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$wheels

status=0
for part in "${parts[@]}"; do
  start=$SECONDS
  if [ "$part" = peers ]; then
    if ! "$python" -c 'import torch' 2>/dev/null; then
      echo "peers: no PyTorch here" >&2
      continue
    fi
    "$python" "$here/torch_peers.py" ${quick[@]+"${quick[@]}"} >"$folder/$part.jsonl"
  else
    ${checker[@]+"${checker[@]}"} "$here/ospsim-device" ${quick[@]+"${quick[@]}"} "$part" >"$folder/$part.jsonl"
  fi
  ended=$?
  [ -s "$folder/$part.jsonl" ] || rm -f "$folder/$part.jsonl"
  [ $ended = 0 ] || status=1
  echo "$part: exit status $ended, $((SECONDS - start)) s, $(cat "$folder/$part.jsonl" 2>/dev/null | wc -l) lines" >&2
done
exit $status
