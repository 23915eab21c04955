"""Which commands there are, by what one wants, and an example of each.

A test holds this against the parser: every command stands here once, and every example parses.
"""

from collections.abc import Mapping, Sequence

GROUPS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "data: what is to be looked at": {
        "synth": ["telltale synth --out data/made-up --videos 60"],
        "manifest": [
            "telltale manifest check videos.csv --scheme hfv4",
            "telltale manifest rank scored.csv --scheme hfv4 --out ranked.csv",
            "telltale manifest cut archive/ --segments shots --out segments.csv",
        ],
        "probe": ["telltale probe videos/"],
        "label": ["telltale label raw/kling --real real/ --out data/labelled"],
        "people": ["telltale people videos/ --detector owlv2:OWLV2 --every 3 --out boxes.parquet"],
    },
    "store: what the networks say, kept": {
        "extract": [
            "telltale extract data/made-up --store hfv.zarr --protocol val --branch "
            "internvideo2=tiny --branch depthpro=tiny",
            "telltale extract data/made-up --store ten.zarr --detector ready",
            "telltale extract videos.csv --scheme hfv4 --store s3://bucket/hfv.zarr --protocol "
            "test-4x3 --branch internvideo2=L14:L14.bin --dry-run",
        ],
        "features": [
            "telltale features import clip.parquet --name clip-b32 --store hfv.zarr --protocol own"
        ],
        "store": ["telltale store info hfv.zarr", "telltale store verify hfv.zarr"],
    },
    "learn: heads on the features": {
        "train": [
            "telltale train --store hfv.zarr --head fusion --seeds 5 --out runs/fusion",
            "telltale train --from everyday --data mine.csv --out mine",
        ],
        "tune": ["telltale tune --store hfv.zarr --head linear --trials 50 --out runs/tuned"],
        "finetune": [
            "telltale finetune --store hfv.zarr --branch internvideo2=L14:L14.bin --set "
            "train=pool --out runs/pool"
        ],
        "heads": ["telltale heads fusion"],
        "detectors": ["telltale detectors", "telltale detectors d3"],
    },
    "judge: what the figures are worth": {
        "evaluate": [
            "telltale evaluate runs/fusion --store hfv.zarr",
            "telltale evaluate runs/fusion runs/linear --store hfv.zarr",
        ],
        "compare": [
            "telltale compare --detectors ready --store made-up.zarr --validation 0.3",
            "telltale compare --detectors humansam,d3,demamba --against humansam --store hfv.zarr",
        ],
        "robustness": ["telltale robustness runs/fusion --store hfv.zarr --out runs/robustness"],
        "ablate": [
            "telltale ablate --store hfv.zarr --seeds 5 --out runs/ablation",
            "telltale ablate --store hfv.zarr --head mlp --strategies --out runs/strategies",
        ],
        "calibrate": ["telltale calibrate runs/fusion --reals my_reals --fpr 0.01"],
        "ensemble": ["telltale ensemble runs/fusion runs/linear --out runs/both"],
        "cross": ["telltale cross --store hfv.zarr --leave-one-out"],
        "audit": ["telltale audit hfv.zarr"],
        "report": ["telltale report runs"],
    },
    "use: verdicts": {
        "score": [
            "telltale score clip.mp4",
            "telltale score clip.mp4 --bundle runs/fusion --explain why.png",
            "telltale score inbox/ --bundle runs/fusion --out scores.parquet",
        ],
        "verdict": ["telltale verdict scores.parquet clip.mp4"],
        "serve": [
            "telltale serve --bundle runs/fusion",
            "telltale serve --root archive --segments shots --host 0.0.0.0 --token-file token.txt",
        ],
        "import-checkpoint": [
            "telltale import-checkpoint humansam.pth --out humansam",
            "telltale import-checkpoint altfreezing.pth --boxes faces.parquet --out altfreezing",
        ],
        "demo": ["telltale demo --out runs/demo"],
        "doctor": ["telltale doctor"],
        "completion": ["telltale completion bash > ~/.local/share/bash-completion/telltale"],
    },
}
