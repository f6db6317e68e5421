"""Makes the Hugging Face checkpoints that tests load, and what transformers answers with them.

    python3 -m venv reference && reference/bin/pip install torch transformers==5.24.0 sentencepiece protobuf
    reference/bin/python tools/huggingface_fixtures.py tests/data/huggingface

It runs in an environment of its own: neither the package nor its tests need torch or transformers. Every checkpoint is
small and of random weights. Beside each stands `reference.npz`: token ids, hidden states and logits in float64, how far
transformers' own float32 is off those, and what it generates greedily and by beam search.
"""

import json
import lzma
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
import transformers

REVIEWS = Path(__file__).parents[1] / "switch_tf" / "datasets" / "reviews" / "train.tsv.xz"
PIECES = 300
SENTINELS = 100
SIZES = {
    "vocab_size": 416,  # a few more than there are pieces, as in the released files
    "d_model": 16,
    "d_kv": 6,  # 3 heads of 6 are wider than the model
    "d_ff": 24,
    "num_layers": 4,
    "num_sparse_encoder_layers": 2,
    "num_decoder_layers": 3,
    "num_sparse_decoder_layers": 1,
    "num_heads": 3,
    "num_experts": 4,
    "expert_capacity": 64,
    "decoder_start_token_id": 0,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tiny_capacity": {"expert_capacity": 2},
    "untied": {"tie_word_embeddings": False},
    "router_bias": {"router_bias": True, "num_sparse_decoder_layers": 3},
    "sharded": {
        "num_layers": 5,
        "num_sparse_encoder_layers": 5,
        "num_decoder_layers": 5,
        "num_sparse_decoder_layers": 2,
    },
    "bfloat16_bin": {"num_sparse_decoder_layers": 0},
}
NEW_TOKENS = 24
BEAMS = 3
SENTINEL_TEXTS = [
    "A film.",
    "The <extra_id_0> walks in <extra_id_1> park",
    "<extra_id_0>",
    " twice  spaced\ttext \n here ",
    "caf\u00e9 \uff21\uff22 \u2603 na\u00efve",
    "word<extra_id_5>word <extra_id_99>.",
    "",
]


def main() -> None:
    """Make every variant under the folder that is named."""
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    root.mkdir(parents=True, exist_ok=True)
    texts = _texts()
    _train_pieces(root, texts)
    tokenizer = transformers.T5Tokenizer.from_pretrained(root, extra_ids=SENTINELS)
    ids = [tokenizer(text).input_ids for text in texts[:200]]
    (root / "tokens.json").write_text(
        json.dumps({text: tokenizer(text).input_ids for text in [*SENTINEL_TEXTS, *texts[:20]]}, indent=0) + "\n"
    )
    for number, (name, changes) in enumerate(VARIANTS.items()):
        _make(root / name, number, changes, ids)
    print(f"{sum(file.stat().st_size for file in root.rglob('*') if file.is_file()):,} bytes in all")


def _texts() -> list[str]:
    rows = lzma.decompress(REVIEWS.read_bytes()).decode().split("\n")[1:]
    return [max(row.split("\t"), key=len) for row in rows[:3000] if row]


def _train_pieces(root: Path, texts: list[str]) -> None:
    """A unigram vocabulary with the ids that T5 gives padding, end and unknown."""
    corpus = root / "corpus.txt"
    corpus.write_text("\n".join(texts), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(root / "spiece"),
        vocab_size=PIECES,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        character_coverage=0.999,
        minloglevel=2,
    )
    (root / "spiece.vocab").unlink()
    corpus.unlink()


def _make(folder: Path, seed: int, changes: dict[str, Any], ids: list[list[int]]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    config = transformers.SwitchTransformersConfig(**(SIZES | changes))
    torch.manual_seed(seed)
    model = transformers.SwitchTransformersForConditionalGeneration(config).eval()
    _randomize(model, seed)
    in_bfloat16 = folder.name == "bfloat16_bin"
    if in_bfloat16:  # experts alone, as in the file of the released switch-base-8
        for name, weight in model.named_parameters():
            if "experts" in name:
                weight.data = weight.data.to(torch.bfloat16).to(torch.float32)
    model.save_pretrained(folder, max_shard_size="60KB" if folder.name == "sharded" else "5GB")
    if in_bfloat16:
        state = {
            name: weight.to(torch.bfloat16) if "experts" in name else weight
            for name, weight in model.state_dict().items()
        }
        torch.save(state, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    _write_reference(folder, model, ids)


def _randomize(model: torch.nn.Module, seed: int) -> None:
    """Weights that leave nothing at the value it would have without them."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        with torch.no_grad():
            if "layer_norm" in name:
                weight.copy_(1 + 0.3 * noise)
            elif name.endswith("classifier.bias") or "relative_attention_bias" in name:
                weight.copy_(noise)
            elif "classifier" in name or name.endswith("wo.weight"):
                weight.copy_(0.5 * noise)
    head = model.lm_head.weight if not model.config.tie_word_embeddings else model.shared.weight
    with torch.no_grad():
        head[1] *= 2.0  # some texts end early


def _batch(ids: list[list[int]], count: int, longest: int, seed: int) -> torch.Tensor:
    """The first `count` texts cut to varied lengths and padded on the right, each with the end's id."""
    lengths = np.random.default_rng(seed).integers(2, longest + 1, count)
    lengths[0] = longest
    batch = torch.zeros([count, longest], dtype=torch.long)
    for row, (text, length) in enumerate(zip(ids, lengths, strict=False)):
        cut = [*text[:-1][: length - 1], 1]
        batch[row, : len(cut)] = torch.tensor(cut)
    return batch


def _write_reference(folder: Path, model: Any, ids: list[list[int]]) -> None:
    inputs, prompts = _batch(ids, 3, 24, seed=1), _batch(ids, 64, 24, seed=2)
    decoder_inputs = torch.tensor(np.random.default_rng(3).integers(3, PIECES, [3, 6]))
    decoder_inputs[:, 0] = 0
    exact = type(model).from_pretrained(folder, dtype=torch.float64).eval()
    with torch.no_grad():
        in_float32, in_float64 = (
            each(input_ids=inputs, attention_mask=(inputs != 0).long(), decoder_input_ids=decoder_inputs)
            for each in (model, exact)
        )
        given = {"input_ids": prompts, "attention_mask": (prompts != 0).long(), "max_new_tokens": NEW_TOKENS}
        greedy = model.generate(**given, do_sample=False, num_beams=1)
        beams = model.generate(**given, do_sample=False, num_beams=BEAMS)
    real = (inputs != 0)[..., None]
    states = [each.encoder_last_hidden_state.double() * real for each in (in_float32, in_float64)]
    np.savez_compressed(
        folder / "reference.npz",
        ids=inputs.numpy().astype(np.int32),
        decoder_ids=decoder_inputs.numpy().astype(np.int32),
        hidden=states[1].numpy(),
        logits=in_float64.logits.numpy(),
        hidden_error=float((states[0] - states[1]).abs().max()),
        logits_error=float((in_float32.logits.double() - in_float64.logits).abs().max()),
        prompts=prompts.numpy().astype(np.int32),
        greedy=_padded(greedy),
        beams=_padded(beams),
    )
    lengths = sorted({int(count) for count in (greedy[:, 1:] != 0).sum(1)})
    print(f"{folder.name}: greedy lengths {lengths}, {len(np.unique(greedy))} tokens", flush=True)


def _padded(generated: torch.Tensor) -> np.ndarray:
    padded = np.zeros([len(generated), NEW_TOKENS + 1], np.int32)
    padded[:, : generated.shape[1]] = generated.numpy()
    return padded


if __name__ == "__main__":
    main()
