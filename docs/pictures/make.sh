#!/bin/sh
# Makes the pictures of the README from the checkpoint in fixtures/. Needs ckpt-regen on PATH,
# Chromium, and python3 with rich.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/../../fixtures/mobilenet_v2_025/model.safetensors" "$work"
cd "$work"

ckpt-regen inspect model.safetensors --html page.html
chromium --headless --no-sandbox --hide-scrollbars --log-level=3 --window-size=980,1040 \
  --screenshot="$here/page.png" "file://$work/page.html"

{
  echo "\$ ckpt-regen inspect model.safetensors --layer 'features\\.1[4-8]'"
  CLICOLOR_FORCE=1 COLUMNS=80 ckpt-regen inspect model.safetensors --layer 'features\.1[4-8]'
} > terminal.txt
python3 - terminal.txt "$here/terminal.svg" <<'PYTHON'
import re
import sys

from rich.console import Console
from rich.text import Text

console = Console(record=True, width=80, file=open("/dev/null", "w"))
console.print(Text.from_ansi(open(sys.argv[1]).read()), soft_wrap=True)
svg = console.export_svg(title="ckpt-regen")
# No font is loaded from anywhere.
svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.S)
open(sys.argv[2], "w").write(svg)
PYTHON
