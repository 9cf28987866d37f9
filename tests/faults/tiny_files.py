"""A small Llama with random weights, and a text: written by plain Python, the same for the same seed."""

import json
import pathlib
import random
import struct

END = 262
MERGES = [("t", "h"), ("th", "e"), ("\u0120", "the"), ("i", "n"), ("a", "n"), ("e", "r")]


def byte_character(byte):
    """The character that stands for a byte in byte-level BPE."""
    def printable(b):
        return 33 <= b <= 126 or 161 <= b <= 172 or b >= 174
    if printable(byte):
        return chr(byte)
    return chr(256 + sum(not printable(b) for b in range(byte)))


def tokenizer():
    tokens = [byte_character(b) for b in range(256)] + [left + right for left, right in MERGES]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    end = {"id": END, "content": "<|end|>", "single_word": False, "lstrip": False, "rstrip": False,
           "normalized": False, "special": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [end], "normalizer": None,
            "pre_tokenizer": level, "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                      "vocab": {token: i for i, token in enumerate(tokens)},
                      "merges": [f"{left} {right}" for left, right in MERGES]}}


def write_model(folder, hidden=96, intermediate=256, layers=4, context=256, seed=1):
    """Writes a Hugging Face directory; weights are uniform with a variance of 1 / columns, norms are 1. Returns its
    config, and shapes and numbers of its tensors."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    heads, kv_heads, head = 4, 2, hidden // 4
    vocab = END + 1
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
              "hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers,
              "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head, "vocab_size": vocab,
              "max_position_embeddings": context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "tie_word_embeddings": True, "bos_token_id": END, "eos_token_id": END, "torch_dtype": "float32"}
    tensors = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    for i in range(layers):
        prefix = f"model.layers.{i}."
        tensors.update({prefix + "input_layernorm.weight": (hidden,),
                        prefix + "post_attention_layernorm.weight": (hidden,),
                        prefix + "self_attn.q_proj.weight": (heads * head, hidden),
                        prefix + "self_attn.k_proj.weight": (kv_heads * head, hidden),
                        prefix + "self_attn.v_proj.weight": (kv_heads * head, hidden),
                        prefix + "self_attn.o_proj.weight": (hidden, heads * head),
                        prefix + "mlp.gate_proj.weight": (intermediate, hidden),
                        prefix + "mlp.up_proj.weight": (intermediate, hidden),
                        prefix + "mlp.down_proj.weight": (hidden, intermediate)})
    source = random.Random(seed)
    numbers = {name: random_numbers(shape, source) for name, shape in tensors.items()}
    write_tensors(folder, tensors, numbers)
    write_config(folder, config)
    return config, tensors, numbers


def random_numbers(shape, source):
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    reach = (3.0 / shape[-1]) ** 0.5
    return [1.0] * count if len(shape) == 1 else [source.uniform(-reach, reach) for _ in range(count)]


def write_tensors(folder, shapes, numbers):
    header, data = {"__metadata__": {"format": "pt"}}, bytearray()
    for name, shape in shapes.items():
        begin = len(data)
        data += struct.pack(f"<{len(numbers[name])}f", *numbers[name])
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_config(folder, config):
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "bos_token": "<|end|>"}))


def write_low_rank(folder, model, rank=24, seed=2):
    """Writes a checkpoint in which another program has made two linear layers of each of the MLP's; `model` is what
    write_model() returned."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config, shapes, numbers = model[0], dict(model[1]), dict(model[2])
    source = random.Random(seed)
    for name in [name for name in shapes if ".mlp." in name]:
        (rows, cols), module = shapes.pop(name), name.removesuffix(".weight")
        for layer, shape in (("ALinear", (rows, rank)), ("BLinear", (rank, cols))):
            shapes[f"{module}.{layer}.weight"] = shape
            numbers[f"{module}.{layer}.weight"] = random_numbers(shape, source)
    write_tensors(folder, shapes, numbers)
    write_config(folder, config)


def write_questions(path, count, seed=3):
    source = random.Random(seed)
    words = "lamp hour winter thing water other burned inner".split()
    lines = [json.dumps({"context": f"the {source.choice(words)} and then",
                         "choices": [" " + " ".join(source.choices(words, k=6)) for _ in range(3)], "answer": i % 3})
             for i in range(count)]
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


def write_text(path, sentences, seed=1):
    source = random.Random(seed)
    words = "the lamp burned another hour and then in winter an inner other thing turned thin water there".split()
    lines = [" ".join(source.choice(words) for _ in range(12)) + f" {i}." for i in range(sentences)]
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
