#!/usr/bin/env bash
# Times everything on this machine's CUDA device, part by part; stands beside ospsim-device.
#   ./record.sh FOLDER [--quick|--memcheck] [PART...]   writes FOLDER/PART.jsonl; without parts: all
# --quick: tiny sizes, to see whether everything works; --memcheck: these under compute-sanitizer,
# our own kernels unless told otherwise. These write to FOLDER/quick and FOLDER/memcheck.
# Needs a driver, cuBLASLt and cuDNN: where the loader does not find these two, those of PyTorch's
# wheels are used. With PyTorch there, its times are recorded beside ours (part peers).
# A part that hangs is ended after 5 minutes, with --quick after 90 s.
set -uo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
if [ $# -lt 1 ] || [ "${1:0:1}" = - ]; then
  sed -n '2,9s/^# \?//p' "$0" >&2
  exit 2
fi
folder=$1
shift
mapfile -t parts < <("$here/ospsim-device" --list)
parts+=(peers)
quick=() checker=() seconds=300
case ${1:-} in
  --memcheck)
    if ! command -v compute-sanitizer >/dev/null; then
      echo "record.sh: compute-sanitizer is not on PATH" >&2
      exit 3
    fi
    folder=$folder/memcheck
    checker=(compute-sanitizer --tool memcheck --report-api-errors no --error-exitcode 1
             --log-file "$folder/%p.log")
    parts=(memory codecs in_place in_place_pairs) quick=(--quick)
    shift
    ;;
  --quick)
    folder=$folder/quick
    quick=(--quick) seconds=90
    shift
    ;;
esac
[ $# = 0 ] || parts=("$@")
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
  rm -f "$folder/$part.jsonl"
  if [ "$part" = peers ]; then
    if ! said=$("$python" -c 'import torch' 2>&1); then
      echo "peers: no PyTorch here: ${said##*$'\n'}" >&2
      continue
    fi
    command=("$python" "$here/torch_peers.py")
  else
    command=(${checker[@]+"${checker[@]}"} "$here/ospsim-device" "$part")
  fi
  timeout -k 10 "$seconds" "${command[@]}" ${quick[@]+"${quick[@]}"} >"$folder/$part.jsonl"
  ended=$?
  lines=$(wc -l <"$folder/$part.jsonl")
  [ "$lines" != 0 ] || rm -f "$folder/$part.jsonl"
  [ $ended = 0 ] || status=1
  [ $ended != 124 ] && [ $ended != 137 ] || echo "$part: ended after $seconds s" >&2
  echo "$part: exit status $ended, $((SECONDS - start)) s, $lines lines" >&2
done
exit $status
