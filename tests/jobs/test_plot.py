#!/usr/bin/env python3
"""Draws every picture from small inputs, and compares archive.py with what `hack export` makes of the same archive.

    test_plot.py CHECKOUT FOLDER     FOLDER: model (a Hugging Face directory), *.h5 archives of it, NAME/ their exports
                                     in f32, runs/*.json reports, study.json

Exit status 77 where matplotlib or h5py is missing.
"""

import subprocess
import sys
from pathlib import Path

try:
    import h5py  # noqa: F401
    import matplotlib  # noqa: F401
    import numpy as np
except ImportError as error:
    print(f"skipped: this Python has no {error.name} (bash jobs/setup.sh --plots)")
    sys.exit(77)

checkout, folder = Path(sys.argv[1]), Path(sys.argv[2])
plot = checkout / "jobs" / "plot"
sys.path.insert(0, str(plot))
from archive import Archive, read_tensor  # noqa: E402

compared = 0
for path in sorted(folder.glob("*.h5")):
    archive = Archive(path)
    for name in archive.names:
        ours, exported = archive.matrix(name).dense(), read_tensor(folder / path.stem, name)
        error = np.abs(ours - exported).max()
        # Sums of at most 128 products in f32, in another order.
        assert error <= 128 * 2**-24 * np.abs(exported).max() * 8, f"{path.name} {name}: {error}"
        compared += 1
assert compared > 0, "no archive was compared"

pictures = folder / "pictures"


def draw(script, *arguments, fails=""):
    result = subprocess.run([sys.executable, plot / f"{script}.py", *map(str, arguments), "--output", pictures],
                            capture_output=True, text=True)
    if fails:
        assert result.returncode == 1 and fails in result.stderr, (script, result.stderr)
    else:
        assert result.returncode == 0, (script, result.stderr)


archive = sorted(folder.glob("*.h5"))[0]
draw("loss_bytes", folder / "runs")
draw("loss_bytes", "--records", checkout / "jobs" / "results")
draw("products", folder / "runs" / "bench.json")
draw("products", "--records", checkout / "jobs" / "results")
draw("scaling", folder / "study.json")
draw("tiles", archive, "--report", folder / "runs" / "compress.json")
draw("weights", folder / "model", archive)
for name in ("loss_bytes", "time_rank", "roofline", "scaling-study", "layers", "tiles", "weights", "spectra"):
    for kind in ("png", "svg"):
        assert (pictures / f"{name}.{kind}").stat().st_size > 1000, name
draw("loss_bytes", folder / "runs" / "bench.json", fails="hold no loss")
draw("products", folder / "runs" / "compress.json", fails="no report of hack bench apply")
draw("tiles", folder / "study.json", fails="no factor archive")
draw("weights", folder, archive, fails="hack export")
print(f"{compared} matrices compared, all pictures drawn")
