#!/usr/bin/env python3
"""Makes the golden cases: `python tests/golden/make.py [group ...]`. Needs torch and safetensors; the results are committed."""

import importlib
import sys

from golden import write

GROUPS = ["create", "map", "shape", "reduce", "index", "contract", "rows"]

for group in sys.argv[1:] or GROUPS:
    importlib.import_module(f"cases_{group}")
    write(group)
