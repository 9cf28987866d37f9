#!/usr/bin/env python3
"""Makes a small tokenizer of every family that `hack` reads and compares token ids with the packages' on two megabytes
of mixed text. Prints and writes a record; exit status 1 where ids differ.

  PEERS/bin/python tests/check_tokenizers.py --output RECORD.json [--bytes N] [--seed N] [--program FILE]
  PEERS/bin/python tests/check_tokenizers.py --sample tests/data/mixed.json     a share of the text, for a test

PEERS has tokenizers, transformers, sentencepiece and protobuf. The text is made from the seed: words of many scripts,
code, emoji, control characters, any code points, look-alikes of special tokens, normal forms, and 100,000 letters
without a space. Files lie in RECORD.json.work, which is made anew. Two minutes on two cores.
"""
import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import unicodedata
from importlib.metadata import version

import sentencepiece
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from machine import machine

VOCABULARY = 3000
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"\p{N}{1,3}" + REST
QWEN2 = CONTRACTIONS + r"\p{N}" + REST
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}|"
          r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# First and last code points of alphabets, digits and symbols.
SCRIPTS = [(0x61, 0x7A), (0x41, 0x7A), (0xC0, 0x17F), (0x180, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x58F),
           (0x5D0, 0x5EA), (0x591, 0x5F4), (0x620, 0x669), (0x671, 0x6FF), (0x700, 0x74F), (0x780, 0x7B1),
           (0x900, 0x97F), (0x980, 0x9FB), (0xA01, 0xA76), (0xB82, 0xBFA), (0xC80, 0xCF2), (0xE01, 0xE5B),
           (0xE81, 0xEDF), (0xF00, 0xFDA), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137C),
           (0x13A0, 0x13FD), (0x1780, 0x17F9), (0x1800, 0x18AA), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE),
           (0x2070, 0x209C), (0x2100, 0x218B), (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2500, 0x27BF), (0x3041, 0x30FF),
           (0x3105, 0x312F), (0x3200, 0x32FF), (0x4E00, 0x9FFF), (0xA000, 0xA48C), (0xAC00, 0xD7A3), (0xF900, 0xFAD9),
           (0xFB00, 0xFDFF), (0xFF01, 0xFFEF), (0x10330, 0x1034A), (0x10400, 0x1044F), (0x12000, 0x12399),
           (0x13000, 0x1342F), (0x1D400, 0x1D7FF), (0x1E900, 0x1E959), (0x1F100, 0x1F1FF), (0x20000, 0x2A6DF)]
SPACES = [*map(chr, [9, 10, 11, 12, 13, 0x85, 0xA0, 0x1680, 0x180E, *range(0x2000, 0x2010), 0x2028, 0x2029, 0x202F,
                     0x205F, 0x2060, 0x3000, 0xFEFF]), "\r\n", "  ", "   ", "\n\n", " \n ", "\t\t", "▁", "▁▁"]
CONTROLS = [*map(chr, [*range(0x20), *range(0x7F, 0xA0), 0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F),
                       *range(0x2066, 0x2070), *range(0xFFF9, 0x10000), 0xE000, 0xF8FF, 0xE0001, 0xE0041, 0xF0000,
                       0x10FFFD, 0x10FFFF])]
FACES = ["😀", "🤖", "❤️", "☎️", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👨🏿‍🚀", "🇩🇪", "🇯🇵🇧🇷", "1️⃣", "#️⃣",
         "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🧑🏻‍❤️‍💋‍🧑🏾", "‍", "️"]
MARKED = ["<s>", "</s>", "<unk>", "<s", "s>", "< s >", "<S>", "<<s>>", "<0x0A>", "<0xE2>", "<0x0a>", "<pad>",
          "<|endoftext|>", "<|endoftext|", "|endoftext|>", "<|im_start|>", "<|im_start|><|im_end|>", "<|im_END|>",
          "<|begin_of_text|>", "<|eot_id|>", "<|<|eot_id|>|>", "<|reserved_special_token_0|>", "[INST]", "[/INST]",
          "<tool>", "<tool>s", " <tool> ", "Ġ", "Ċ", "ĠĠ", "<｜end▁of▁sentence｜>", "\\n", "&lt;s&gt;"]
SUFFIXES = ["'s", "'T", "'RE", "'ve", "'m", "'LL", "'d", "'ſ", "’s", "'x", "''", "'İ", "'K", "'ß"]
CODE = ["for (int i = 0; i < n; ++i) {\n\t\tsum += x[i] * y[i];\n\t}\n",
        "def f(x):\r\n    return {k: v**2 for k, v in x}\r\n",
        "#include <vector>\n\n\n", "SELECT * FROM t WHERE a >= 10 AND b != 'it''s';", "x=0x1F&~mask|(1<<12)>>3;//!?",
        "<div class=\"a-b\">&nbsp;</div>", "https://example.org/a?b=c&d=%20#e_f",
        "\\begin{equation} \\frac{1}{2} \\end",
        "    \t   if a&&b||!c:\n", "/* ──── */", "$x_{i}^{2}$", "C:\\dir\\new", "1e-5+3.14159-0b1010"]


class Text:
    """Mixed text from a seed, a run of one kind after the other."""

    def __init__(self, seed):
        self.draw = random.Random(seed)

    def letters(self, count):
        return "".join(self.draw.choices("etaoinshrdlucmfwypvbgkjqxz", k=count))

    def any_code_point(self):
        while True:
            point = self.draw.randrange(0x110000 if self.draw.random() < 0.3 else 0x3400)
            if not 0xD800 <= point < 0xE000:
                return chr(point)

    def word(self, script):
        return "".join(chr(self.draw.randint(*script)) for _ in range(self.draw.randint(1, 9)))

    def words(self):
        script = self.draw.choice(SCRIPTS)
        return " ".join(self.word(script) for _ in range(self.draw.randint(1, 12)))

    def english(self):
        parts = ["th", "e", "re", "in", "on", "at", "ing", "tion", "s", "al", "o", "un", "der", "ly", "Ma", "A"]
        made = ("".join(self.draw.choices(parts, k=self.draw.randint(1, 4))) for _ in range(self.draw.randint(3, 20)))
        return " ".join(word + self.draw.choice(["", "", ",", ".", self.draw.choice(SUFFIXES)]) for word in made)

    def number(self):
        digits = self.draw.choice(["0123456789",
                                   "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "²³¹", "ⅣⅫ½", "𝟘𝟙𝟚", "0123456789.,-+"])
        return "".join(self.draw.choices(digits, k=self.draw.randint(1, 20)))

    def normal_forms(self):
        some = lambda first, last: chr(self.draw.randint(first, last))
        base = [self.draw.choice("aeiouAEnsc"), some(0xC0, 0x24F), some(0xAC00, 0xD7A3), some(0x1E00, 0x1FFE),
                "ﬁ", "Å", "ｶﾞ", "が", "क़", "ﷺ", "㍿", "שּׁ", "가", "각", "각"]
        marks = "".join(some(0x300, 0x36F) for _ in range(self.draw.choice([0, 1, 1, 2, 3, 12])))
        form = self.draw.choice(["NFC", "NFD", "NFKC", "NFKD", None])
        text = "".join(self.draw.choices(base, k=self.draw.randint(1, 5))) + marks
        return unicodedata.normalize(form, text) if form else text

    def run(self):
        draw = self.draw
        some = lambda kinds, most: "".join(draw.choice(kinds) for _ in range(draw.randint(1, most)))
        kind = draw.choices(range(11), [20, 20, 8, 6, 6, 5, 8, 6, 6, 4, 3])[0]
        return [self.words, self.english, lambda: draw.choice(CODE), lambda: some(FACES, 4), lambda: some(CONTROLS, 6),
                lambda: some(SPACES, 5), lambda: some(MARKED, 3), self.number, self.normal_forms,
                lambda: "".join(self.any_code_point() for _ in range(draw.randint(1, 12))),
                lambda: draw.choice("aA1!é漢 \n=-_·") * draw.randint(2, 80)][kind]()

    def make(self, size):
        out, have = [], 0
        while have < size:
            piece = self.run() + self.draw.choice(["", " ", " ", " ", "\n"])
            have += len(piece.encode())
            out.append(piece)
        return out


def byte_level(steps, special, ignore_merges=False, normalizer=None):
    made = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    made.decoder = decoders.ByteLevel()

    def train(texts):
        made.train_from_iterator(texts, trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False))
        made.add_tokens([AddedToken("<tool>", normalized=True, special=False)])
        made.post_processor = processors.TemplateProcessing(single=f"{special[0]} $A", special_tokens=[(special[0], 0)])
        return made

    return train


def split(pattern):
    return [pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]


def byte_families():
    own = lambda: pre_tokenizers.ByteLevel(add_prefix_space=False)
    llama3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|reserved_special_token_0|>"]
    chat = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return {"GPT-2": byte_level([own()], chat[:1]),
            "SmolLM2": byte_level([pre_tokenizers.Digits(individual_digits=True), own()], chat),
            "Llama-3": byte_level(split(LLAMA3), llama3, ignore_merges=True),
            "Qwen2": byte_level(split(QWEN2), chat, normalizer=normalizers.NFC()),
            "Tekken": byte_level(split(TEKKEN), ["<s>", "</s>", "<unk>", "[INST]", "[/INST]"], ignore_merges=True)}


def merges_of(vocabulary, scores):
    """All ways to join two pieces into a third, the highest score first, as transformers converts such models."""
    found = []
    for piece, score in scores.items():
        cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        cuts = [cut for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary]
        found += [(*cut, score) for cut in sorted(cuts, key=lambda c: (vocabulary[c[0]], vocabulary[c[1]]))]
    found.sort(key=lambda merge: (merge[2], len(merge[0]), len(merge[1])), reverse=True)
    return [merge[:2] for merge in found]


def sentence_pieces(pieces, as_normalizer, marked=()):
    """tokenizer.json of a trained SentencePiece model, with the mark of spaces by a normalizer or by Metaspace."""
    texts = [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())]
    vocabulary = {text: i for i, text in enumerate(texts)}
    scores = {text: pieces.get_score(i) for i, text in enumerate(texts)
              if not (pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_byte(i))}
    made = Tokenizer(models.BPE(vocabulary, merges_of(vocabulary, scores), unk_token="<unk>", fuse_unk=True,
                                byte_fallback=True))
    if as_normalizer:
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                      decoders.Strip(" ", 1, 0)])
    made.add_special_tokens([AddedToken(text, normalized=False) for text in ("<unk>", "<s>", "</s>", *marked)])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def train_pieces(folder, texts):
    """tokenizer.model as Llama-2's was trained: texts as they are, digits apart, bytes for other characters."""
    prefix = os.path.join(folder, "tokenizer")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=prefix, model_type="bpe", vocab_size=VOCABULARY, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, character_coverage=1.0,
        allow_whitespace_only_pieces=True, max_sentence_length=100000, minloglevel=2, hard_vocab_limit=False)
    return sentencepiece.SentencePieceProcessor(model_file=prefix + ".model")


class Check:
    def __init__(self, given):
        self.given, self.work, self.rows = given, given.output + ".work", []
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)

    def folder(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path)
        return path

    def write(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, "wb") as file:
            file.write(text.encode())
        return path

    def hack(self, folder, file, *more):
        """What `hack tokenize` prints, and the seconds of processor time that it takes."""
        line = [self.given.program, "tokenize", folder, "--text", file, *more]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(f"{' '.join(line)}\n{done.stderr.decode()}")
        return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def compare(self, family, twin, folder, text, theirs):
        file = self.write("text.txt", text)
        ours = [int(line) for line in self.hack(folder, file)[0].split()]
        row = {"family": family, "twin": twin, "bytes": len(text.encode()), "ids": len(theirs), "equal": ours == theirs}
        if not row["equal"]:
            unlike = (i for i, (our, their) in enumerate(zip(ours, theirs)) if our != their)
            first = next(unlike, min(len(ours), len(theirs)))
            around = slice(max(first - 3, 0), first + 8)
            row["first_difference"] = {"at": first, "hack": ours[around], "twin": theirs[around]}
        self.note(row)
        return ours

    def note(self, row):
        self.rows.append(row)
        print(json.dumps(row), flush=True)

    def times(self, family, folder, text):
        """Processor time of one word of letters: twice as many, twice the time where it is linear."""
        took = {}
        for count in (1, 100_000, 1_000_000, 2_000_000):
            file = self.write("letters.txt", text.letters(count))
            took[count] = round(min(self.hack(folder, file)[1] for _ in range(3)), 3)
        self.note({"family": family, "seconds_of_one_word_by_letters": took})


def check_bytes(check, texts, text):
    for family, train in byte_families().items():
        made = train(texts)
        folder = check.folder(family)
        made.save(os.path.join(folder, "tokenizer.json"))
        ids = check.compare(family, "tokenizers", folder, text, made.encode(text).ids)
        back = check.hack(folder, check.write("ids.txt", "\n".join(map(str, ids[1:]))), "--decode")[0]
        kept = unicodedata.normalize("NFC", text) if family == "Qwen2" else text
        same = back.decode() == (made.decode(ids[1:], skip_special_tokens=False))
        check.note({"family": family, "decoded_as": "tokenizers", "equal": same, "is_the_text": back == kept.encode()})
        check.times(family, folder, Text(2))


def check_sentence_pieces(check, texts, text):
    where = check.folder("Llama-2 (model)")
    is_known = lambda character: "\0" < character < "\u0530" or "ぁ" <= character <= "ヿ"
    pieces = train_pieces(where, [piece for piece in texts if all(map(is_known, piece))])
    for family, in_normalizer in (("Llama-2", True), ("Mistral", False)):
        made = sentence_pieces(pieces, in_normalizer, () if in_normalizer else ("[INST]", "[/INST]"))
        folder = check.folder(family)
        made.save(os.path.join(folder, "tokenizer.json"))
        ids = check.compare(family + ", tokenizer.json", "tokenizers", folder, text, made.encode(text).ids)
        back = check.hack(folder, check.write("ids.txt", "\n".join(map(str, ids[1:]))), "--decode")[0]
        check.note({"family": family + ", tokenizer.json", "decoded_as": "tokenizers",
                    "equal": back.decode() == made.decode(ids[1:], skip_special_tokens=False)})
        check.times(family, folder, Text(2))
    # SentencePiece itself knows no tokens written out.
    plain = text
    for marked in ("<unk>", "<s>", "</s>"):
        plain = plain.replace(marked, marked[:-1] + " >")
    check.compare("Llama-2, tokenizer.model", "sentencepiece", where, plain, [1] + pieces.encode(plain))
    check.compare("Llama-2, tokenizer.model", "tokenizers, converted as by transformers 4", where, text,
                  sentence_pieces(pieces, True).encode(text).ids)
    folder = check.folder("Llama-2 (model, not legacy)")
    shutil.copy(os.path.join(where, "tokenizer.model"), folder)
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump({"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, "bos_token": "<s>",
                   "eos_token": "</s>", "unk_token": "<unk>"}, file)
    made = transformers.AutoTokenizer.from_pretrained(folder)
    check.compare("Llama-2, tokenizer.model, not legacy", "transformers", folder, text, made.encode(text))


def write_sample(path):
    """A text, and of the words that each family cuts it into their number and the sum of place times bytes."""
    text, cuts = "".join(Text(3).make(24_000)), {}
    for family, train in byte_families().items():
        made = train([""])
        normal = made.normalizer.normalize_str(text) if made.normalizer else text
        words = made.pre_tokenizer.pre_tokenize_str(normal)  # each byte a character
        cuts[family] = [len(words), sum(place * len(word) for place, (word, _) in enumerate(words, 1))]
    with open(path, "w") as file:
        json.dump({"text": text, "cuts": cuts}, file, indent=0)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output")
    parser.add_argument("--sample")
    parser.add_argument("--bytes", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", default="build/bin/hack")
    given = parser.parse_args()
    if given.sample:
        return write_sample(given.sample)
    check, source = Check(given), Text(given.seed)
    runs = source.make(given.bytes - 100_000)
    text = "".join(runs[: len(runs) // 2]) + source.letters(100_000) + "".join(runs[len(runs) // 2 :])
    texts = Text(given.seed + 1).make(300_000)
    check_bytes(check, texts, text)
    check_sentence_pieces(check, texts, text)
    record = {"what": "token ids of small tokenizers of each family on one mixed text, by hack and by the package",
              "command": " ".join(["tests/check_tokenizers.py", *map(os.path.basename, sys.argv[1:])]),
              "machine": machine(),
              "versions": {m: version(m) for m in ("tokenizers", "transformers", "sentencepiece")}, "rows": check.rows}
    with open(given.output, "w") as file:
        json.dump(record, file, indent=2)
        file.write("\n")
    sys.exit(0 if all(row.get("equal", True) for row in check.rows) else 1)


main()
