"""A model that answers turn N with line N, whatever it is asked: `tiny_llama.py FILE.gguf < LINES` for llama.cpp,
`tiny_llama.py FOLDER < LINES` for what reads Hugging Face's checkpoints.

The next token depends on the last one alone: no attention, no feed-forward, an embedding of one place for each token and a
head that knows each token's successor. The chat template ends a prompt with a token of its own for each turn, which is where
that turn's line begins. LINES is JSON: a list of turns, each a list of pieces of text, no two alike. Needs numpy, and gguf or
safetensors; run by `LLAMA` and `VLLM` in test_real_servers.py, with the Python that has them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CONTEXT = 32768
NORMAL, UNKNOWN, CONTROL, OWN, BYTE = 1, 2, 3, 4, 6
TEMPLATE = """\
{%- if tools %}Call tools as <tool_call>
{"name": "NAME", "arguments": {}}
</tool_call>
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}{% endif -%}
{%- for m in messages -%}
{%- if m.role == 'assistant' -%}<assistant>{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}{%- elif m.role == 'tool' -%}<tool_response>{{ m.content }}</tool_response>
{%- else -%}<{{ m.role }}>{{ m.content }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|turn{{ messages | selectattr('role', 'equalto', 'assistant') | list | length }}|>
{%- endif -%}
"""


def vocabulary(turns: list[list[str]]) -> tuple[list[str], list[int], dict[int, int]]:
    """Texts of all tokens, their kinds, and which token follows which."""
    texts, kinds = ["<unk>", "<s>", "</s>"], [UNKNOWN, CONTROL, CONTROL]
    texts += [f"<0x{byte:02X}>" for byte in range(256)]
    kinds += [BYTE] * 256
    follows: dict[int, int] = {}
    for number, pieces in enumerate(turns):
        texts.append(f"<|turn{number}|>")
        kinds.append(CONTROL)
        for piece in pieces:
            follows[len(texts) - 1] = len(texts)
            texts.append(piece)
            kinds.append(OWN)
        follows[len(texts) - 1] = 2
    return texts, kinds, follows


def write(file: str, turns: list[list[str]]) -> None:
    """The model as a GGUF file."""
    import gguf
    import numpy

    texts, kinds, follows = vocabulary(turns)
    width = _width(texts)
    out = gguf.GGUFWriter(file, "llama")
    for add, value in (
        (out.add_context_length, CONTEXT),
        (out.add_embedding_length, width),
        (out.add_block_count, 1),
        (out.add_feed_forward_length, 32),
        (out.add_head_count, 1),
        (out.add_layer_norm_rms_eps, 1e-5),
        (out.add_vocab_size, len(texts)),
        (out.add_tokenizer_model, "llama"),
        (out.add_token_list, texts),
        (out.add_token_scores, [0.0] * len(texts)),
        (out.add_token_types, kinds),
        (out.add_bos_token_id, 1),
        (out.add_eos_token_id, 2),
        (out.add_unk_token_id, 0),
        (out.add_add_space_prefix, False),
        (out.add_chat_template, TEMPLATE),
    ):
        add(value)
    embedding, head = _ends(len(texts), width, follows)
    out.add_tensor("token_embd.weight", embedding)
    out.add_tensor("output.weight", head)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        out.add_tensor(f"{name}.weight", numpy.ones(width, numpy.float32))
    for name, shape in {
        **{f"attn_{part}": (width, width) for part in ("q", "k", "v", "output")},
        **dict.fromkeys(("ffn_gate", "ffn_up"), (32, width)),
        "ffn_down": (width, 32),
    }.items():
        out.add_tensor(f"blk.0.{name}.weight", numpy.zeros(shape, numpy.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def write_folder(folder: Path, turns: list[list[str]]) -> None:
    """The model as a checkpoint: weights, settings, and a tokenizer of single bytes, which no longer token is ever read as."""
    import numpy
    from safetensors.numpy import save_file

    texts, kinds, follows = vocabulary(turns)
    width = _width(texts)
    embedding, head = _ends(len(texts), width, follows)
    shapes = {f"self_attn.{part}_proj": (width, width) for part in "qkvo"}
    shapes |= {"mlp.gate_proj": (32, width), "mlp.up_proj": (32, width), "mlp.down_proj": (width, 32)}
    tensors = {f"model.layers.0.{name}.weight": numpy.zeros(shape, numpy.float32) for name, shape in shapes.items()}
    for name in ("norm", "layers.0.input_layernorm", "layers.0.post_attention_layernorm"):
        tensors[f"model.{name}.weight"] = numpy.ones(width, numpy.float32)
    folder.mkdir(exist_ok=True)
    tensors |= {"model.embed_tokens.weight": embedding, "lm_head.weight": head}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    vocab = {_spelled(text, kind): number for number, (text, kind) in enumerate(zip(texts, kinds, strict=True))}
    plain = {"special": True} | dict.fromkeys(("normalized", "single_word", "lstrip", "rstrip"), False)
    numbers = (number for number, kind in enumerate(kinds) if kind in (UNKNOWN, CONTROL))
    own = [{"id": number, "content": texts[number], **plain} for number in numbers]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    files = {
        "tokenizer": {"version": "1.0", "added_tokens": own, "normalizer": None, "pre_tokenizer": level, "post_processor": None}
        | {"decoder": level, "model": {"type": "BPE", "vocab": vocab, "merges": []}},
        "tokenizer_config": {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "chat_template": TEMPLATE},
        "generation_config": {"eos_token_id": 2},
        "config": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": len(texts), "hidden_size": width}
        | {"num_hidden_layers": 1, "num_attention_heads": width // 32, "intermediate_size": 32, "rms_norm_eps": 1e-5}
        | {"max_position_embeddings": CONTEXT, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32"}
        | {"hidden_act": "silu", "tie_word_embeddings": False},
    }
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def _width(texts: list[str]) -> int:
    """Places of a token: at least one for each, in whole heads."""
    return 32 * ((len(texts) + 31) // 32)


def _ends(count: int, width: int, follows: dict[int, int]) -> tuple[Any, Any]:
    """What a token is at first, and what its place says in the end: its successor, else that the reply is over."""
    import numpy

    head = numpy.zeros((count, width), numpy.float32)
    for token in range(count):
        head[follows.get(token, 2), token] = 10
    return numpy.eye(count, width, dtype=numpy.float32), head


def _spelled(text: str, kind: int) -> str:
    """How a token is written in a vocabulary of bytes."""
    if kind in (UNKNOWN, CONTROL):
        return text
    return "".join(map(_letter, [int(text[3:5], 16)] if kind == BYTE else text.encode()))


def _letter(byte: int) -> str:
    """How a tokenizer of bytes writes one: as its letter, or where that cannot be seen as one far above."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return chr(byte if byte in seen else 256 + [number for number in range(256) if number not in seen].index(byte))


if __name__ == "__main__":
    target = sys.argv[1]
    turns = json.load(sys.stdin)
    write(target, turns) if target.endswith(".gguf") else write_folder(Path(target), turns)
