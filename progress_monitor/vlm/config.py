"""Parameters of the model and of its worker process. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from progress_monitor.parameters import parameter

QUANTIZATIONS = ('auto', 'none', 'nf4', 'int8')
DTYPES = ('auto', 'float32', 'bfloat16', 'float16')


@dataclass(frozen=True)
class ModelConfig:
    """Which checkpoint, on what device, in what precision, and within what bounds."""

    path: str = parameter(
        '',
        'Folder of a Qwen3-VL checkpoint, or its name on the Hugging Face hub '
        '(ce-amtic/ProcVLM-2B). Nothing is downloaded unless a hub name is given.',
    )
    revision: str = parameter(
        '', 'Branch, tag or commit of a model on the hub; empty for its default branch.'
    )
    adapters: tuple[str, ...] = parameter(
        (),
        'Folders or hub names of PEFT LoRA adapters over the checkpoint of path, whatever folder '
        'they name as their base. Each answers for the tasks in its adaptation.json, one without '
        'that file for every other task; the rest is asked of the bare checkpoint.',
    )
    profile: str = parameter(
        'auto',
        'Defaults for a known checkpoint: the name of a profile, auto (by the name or the sizes of '
        'the checkpoint) or none. A parameter that is given wins over the profile.',
    )
    quantization: str = parameter(
        'auto',
        'nf4 and int8 quantise the text layers with bitsandbytes; auto measures NF4 against '
        'unquantised weights at start, one after the other, and takes the faster that fits in '
        'memory. A checkpoint that is stored quantised is loaded as it is.',
        choices=QUANTIZATIONS,
    )
    device: str = parameter('auto', 'Torch device (cpu, cuda, cuda:1); auto takes CUDA if present.')
    dtype: str = parameter(
        'auto',
        'Precision of unquantised weights; auto is bfloat16 on CUDA and float32 on the CPU.',
        choices=DTYPES,
    )
    max_pixels: int = parameter(
        256 * 256,
        'Most pixels of a frame as shown to the model.',
        minimum=32 * 32,
        maximum=4096 * 4096,
    )
    max_new_tokens: int = parameter(256, 'Most tokens of one answer.', minimum=1, maximum=4096)
    deadline_s: float = parameter(
        10.0,
        'Wall time for one answer. Decoding ends at four fifths of it; a worker that has not '
        'answered at the deadline is ended and started again.',
        above=0.0,
    )
    load_deadline_s: float = parameter(
        600.0, 'Wall time for loading the model from the disk.', above=0.0
    )
    download_stall_s: float = parameter(
        60.0,
        'Time without a single byte after which a download from the hub fails, s. There is no '
        'other limit on it, and the next attempt goes on from what has come.',
        above=0.0,
        maximum=3600.0,
    )
    threads: int = parameter(
        1,
        'CPU threads of the model. A small one is quickest with one; more help a large one that '
        'runs on the CPU.',
        minimum=1,
        maximum=256,
    )
