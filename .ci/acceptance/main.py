"""Runs all checks, or those whose name contains one of the arguments. The last line is `N passed, N failed`."""

import importlib
import pathlib
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from cluster import BINARY  # noqa: E402
from environment import NotPossible  # noqa: E402


def find(words):
    for path in sorted((HERE / "checks").glob("*.py")):
        module = importlib.import_module(f"checks.{path.stem}")
        for name, check in list(vars(module).items()):
            if name.startswith("check_") and (not words or any(word in name or word == path.stem for word in words)):
                yield path.stem, name, check


def main():
    if not BINARY.exists():
        sys.exit(f"{BINARY} is not built: cargo build --release")
    passed, failed, impossible = 0, 0, []
    for module, name, check in find(sys.argv[1:]):
        begun = time.monotonic()
        try:
            check()
            passed, verdict, detail = passed + 1, "ok", ""
        except NotPossible as reason:
            verdict, detail = "NOT RUN", f"  {reason}\n"
            impossible.append(f"{name}: {reason}")
        except Exception:  # noqa: BLE001 - any exception means that the check did not pass
            failed, verdict, detail = failed + 1, "FAILED", traceback.format_exc()
        print(f"{module}::{name} … {verdict} ({time.monotonic() - begun:.1f} s)\n{detail}", end="", flush=True)
    for line in impossible:
        print(f"NOT RUN  {line}")
    if passed + failed == 0:
        sys.exit("no check was run")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
