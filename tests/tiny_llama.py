"""A model for llama.cpp that answers turn N with line N, whatever it is asked: `tiny_llama.py FILE < LINES`.

The next token depends on the last one alone: no attention, no feed-forward, an embedding of one place for each token and a
head that knows each token's successor. The chat template ends a prompt with a token of its own for each turn, which is where
that turn's line begins. LINES is JSON: a list of turns, each a list of pieces of text, no two alike. Needs gguf and numpy; run
by `LLAMA` in test_real_servers.py, with the Python that has them.
"""

from __future__ import annotations

import json
import sys

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
    width = 32 * ((len(texts) + 31) // 32)
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
    embedding = numpy.eye(len(texts), width, dtype=numpy.float32)
    head = numpy.zeros((len(texts), width), numpy.float32)
    for token in range(len(texts)):
        head[follows.get(token, 2), token] = 10
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


if __name__ == "__main__":
    write(sys.argv[1], json.load(sys.stdin))
