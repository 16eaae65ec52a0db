"""The ports of ports/: how they are run, how their arrays are laid out, and mistakes that are planted in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.told_keras import KERAS

ROOT = Path(__file__).parents[1]
PORTS = {
    "torch_plain": ("torch",),
    "keras_plain": ("keras",),
    "jax_plain": ("keras-jax",),
    "files": ("torch", "gluon"),
}
"""Ports, and the backends in whose environments each is tested."""

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Mistake:
    """A change of a port's script that a port may well contain."""

    port: str
    name: str
    rung: str
    """The lowest rung that it fails: a key of RUNGS in tests/backends/test_ports.py."""
    changes: dict[str, str]
    """Texts of the file, each there once, and what stands in their place."""
    file: str = "train.py"
    told: str = ""
    """The id of shared/hypotheses.py that a check should tell it as; empty if it has none."""


MISTAKES = (
    Mistake(
        "torch_plain",
        "tanh-gelu",
        "layers",
        {'"intermediate.dense", x))': '"intermediate.dense", x), approximate="tanh")'},
        told="gelu-tanh",
    ),
    Mistake("torch_plain", "mean-pooled", "pooled", {"x[:, 0]))": "x.mean(1)))"}, told="pooler-mean"),
    Mistake(
        "torch_plain",
        "dropout-before-norm",
        "dropout",
        {
            'F.dropout(norm("embeddings.LayerNorm", x), s.dropout)': (
                'norm("embeddings.LayerNorm", F.dropout(x, s.dropout))'
            )
        },
        told="dropout-before-norm",
    ),
    Mistake(
        "torch_plain",
        "no-bias-correction",
        "first step",
        {
            "    record(run, parameters=p)\n": """\
    record(run, parameters=p)
    for w in p.values():
        m, v = torch.zeros_like(w), torch.zeros_like(w)
        optimizer.state[w] = {"step": torch.tensor(1e6), "exp_avg": m, "exp_avg_sq": v}
"""
        },
        told="no-bias-correction",
    ),
    Mistake(
        "torch_plain", "gradients-kept", "second gradients", {"optimizer.zero_grad()": "pass"}, told="gradients-kept"
    ),
    Mistake(
        "keras_plain",
        "mask-of-ones",
        "layers",
        {"attention_mask=mask[:, None]": "attention_mask=None"},
        told="mask-none",
    ),
    Mistake(
        "keras_plain",
        "pad-trained",
        "gradients",
        {"1 - tf.one_hot([s.pad_id], s.vocab_size, axis=0)": "1"},
        told="pad-trained",
    ),
    Mistake("keras_plain", "norm-repeats", "norm", KERAS["norm-repeats"], told="norm-repeats"),
    Mistake(
        "keras_plain",
        "clip-each",
        "clipped",
        {"g * tf.minimum(1.0, s.clip / (norm + 1e-6))": "tf.clip_by_norm(g, s.clip)"},
        told="clip-each",
    ),
    Mistake(
        "jax_plain",
        "segments-dropped",
        "embeddings",
        {' + types[batch["token_type_ids"]]': ""},
        told="token-types-omitted",
    ),
    Mistake("jax_plain", "rate-of-peak", "first step", {"step.learning_rate": "s.learning_rate"}, told="rate-of-peak"),
    Mistake("jax_plain", "decay-all", "first step, steep", {"(n in decayed)": "1.0"}, told="decay-all"),
    Mistake(
        "jax_plain",
        "correction-of-step-1",
        "last step",
        {"(1 - s.beta1**t)": "(1 - s.beta1)", "(1 - s.beta2**t)": "(1 - s.beta2)"},
        told="correction-of-step-1",
    ),
    Mistake(
        "files",
        "float16-weights",
        "parameters",
        {"array.astype(FLOAT)": "array.astype(np.float16).astype(FLOAT)"},
        told="weights-float16",
    ),
    Mistake(
        "files",
        "wrong-layer-norm-eps",
        "embeddings",
        {'self.s["layer_norm_eps"]': "1e-5"},
        "network.py",
        told="layer-norm-eps",
    ),
    Mistake(
        "files", "loss-sum", "loss", {"losses.mean()": "losses.sum()", " / len(d)": ""}, "network.py", told="loss-sum"
    ),
    Mistake(
        "files",
        "eps-before",
        "first step",
        {
            '(np.sqrt(v[n] / (1 - s["beta2"] ** t)) + s["eps"])': (
                '((np.sqrt(v[n]) + s["eps"]) / math.sqrt(1 - s["beta2"] ** t))'
            )
        },
        told="eps-before",
    ),
)
"""Each is told from a sound port by the small pack of tests/port_reference.py."""


def written_port(port: str, folder: Path, mistake: Mistake | None = None, double: bool = False) -> Path:
    """Writes a port's script into the folder, changed by the mistake. Returns the script."""
    scripts = folder / port
    scripts.mkdir(parents=True)
    for source in (ROOT / "ports" / port).glob("*.py"):
        text = source.read_text(encoding="utf-8")
        changes = mistake.changes if mistake is not None and mistake.file == source.name else {}
        if double and source.name == "train.py":
            changes = {**changes, "FLOAT = np.float32": "FLOAT = np.float64"}
        for old, new in changes.items():
            assert text.count(old) == 1, f"{port}/{source.name} has not once: {old}"
            text = text.replace(old, new)
        (scripts / source.name).write_text(text, encoding="utf-8")
    return scripts / "train.py"


def run_port(
    python: str, port: str, pack: Path, folder: Path, mistake: Mistake | None = None, double: bool = False
) -> Path:
    """Runs a port's script with this interpreter, changed by the mistake; `double` computes in float64, as only `files`
    can. Returns the recording, a folder made in `folder`. Raises AssertionError with what the script printed."""
    script = written_port(port, folder, mistake, double)
    recording = folder / "recording"
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "recorder"),
        "CONCORD_PACK": str(pack),
        "CONCORD_RECORDING": str(recording),
        # JAX compiles a program for each run and shape; a mistake in the optimizer has those of the sound port.
        "JAX_COMPILATION_CACHE_DIR": str(Path(os.environ["CONCORD_CACHE"]) / "ports"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [python, str(script)]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return recording


def read_part(recording: Path, port: str, place: str, shapes: dict[str, tuple[int, ...]]) -> Arrays:
    """Reads RUN/STEP/PART of a port's recording. Parameters and gradients come under HuggingFace's names and in its
    layout; `shapes` are HuggingFace's."""
    arrays = _read(recording / place)
    if place.rpartition("/")[2] not in ("parameters", "gradients", "clipped"):
        return arrays
    return {name: LAYOUTS[port](name, arrays).reshape(shape) for name, shape in shapes.items()}


def _read(path: Path) -> Arrays:
    """Reads PART.npz, PART.npy, or the files NAME.npy of a folder PART."""
    if (file := path.with_name(f"{path.name}.npz")).exists():
        with np.load(file, allow_pickle=False) as content:
            return dict(content)
    if (file := path.with_name(f"{path.name}.npy")).exists():
        return {"value": np.load(file, allow_pickle=False)}
    files = sorted(path.rglob("*.npy"))
    assert files, f"nothing is recorded as {path}"
    return {file.relative_to(path).with_suffix("").as_posix(): np.load(file, allow_pickle=False) for file in files}


def _of_torch(name: str, arrays: Arrays) -> np.ndarray:
    return arrays[name.removeprefix("bert.")]


def _of_keras(name: str, arrays: Arrays) -> np.ndarray:
    return _from_kernel(name, arrays[name])


def _of_jax(name: str, arrays: Arrays) -> np.ndarray:
    return _from_kernel(name, arrays[name.removeprefix("bert.")])


def _from_kernel(name: str, array: np.ndarray) -> np.ndarray:
    """Undoes a layout of [in, out], in which either may be split into heads."""
    if "embeddings." in name or name.endswith("bias") or "LayerNorm" in name:
        return array
    inward = array.shape[0] if ".output.dense" not in name else int(np.prod(array.shape[:-1]))
    return array.reshape(inward, -1).T


def _of_files(name: str, arrays: Arrays) -> np.ndarray:
    own = name.removeprefix("bert.").replace("encoder.layer.", "block").replace(".", "_")
    for n, part in enumerate(("query", "key", "value")):
        if f"attention_self_{part}_" in own:
            array = np.split(arrays[own.replace(f"attention_self_{part}", "qkv")], 3, axis=-1)[n]
            return _from_kernel(name, array)
    return _from_kernel(name, arrays[own])


LAYOUTS: dict[str, Callable[[str, Arrays], np.ndarray]] = {
    "torch_plain": _of_torch,
    "keras_plain": _of_keras,
    "jax_plain": _of_jax,
    "files": _of_files,
}
"""For each port, takes HuggingFace's array of a name out of its own."""
