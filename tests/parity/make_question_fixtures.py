"""Writes tests/parity/fixtures/question-answering/: answers of transformers 4's pipeline, which 5 dropped.

Usage, once, in an environment of its own:

    python3 -m venv /tmp/transformers4
    /tmp/transformers4/bin/pip install "transformers<5" torch==2.13.0 numpy
    /tmp/transformers4/bin/python tests/parity/make_question_fixtures.py

The fixture is a model folder as ``save_pretrained`` writes it, and ``expected.json`` with questions and answers.
"""

import json
import string
from pathlib import Path

import torch
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizerFast, pipeline

FOLDER = Path(__file__).parent / "fixtures" / "question-answering"
LETTERS = string.ascii_lowercase + string.digits
WORDS = ["the", "in", "of", "and", "was", "is", "he", "who", "where", "when", "what", "born", "lived", "year", "city"]
PIECES = ["an", "er", "on", "th", "st", "re", "en", "at", "ed", "ing", "es", "ri", "la", "ma", "ch", "ou"]
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 128,
}
CONTEXTS = [
    "Ada Lovelace was born in London in 1815; she died there, aged 36. London was the city of her life.",
    "  The Zürich–Genève line\t(opened 1882) is 280 km long. 東京 is far away, naïve traveller!",
    "He lived in the city of Rome. He was born in the city of ROME, and died in Rome.",
]
QUESTIONS = ["Where was Ada born?", "When was the line opened?", "Where?"]
OPTIONS = [
    {},
    {"top_k": 3},
    {"top_k": 8, "max_answer_len": 4},
    {"top_k": 5, "align_to_words": False},
    {"top_k": 3, "handle_impossible_answer": True, "max_answer_len": 30},
    {"handle_impossible_answer": True, "max_answer_len": 1},
]


def new(vocab_size: int) -> BertForQuestionAnswering:
    """Return a model whose weights are large enough for it to prefer some answers to others."""
    torch.manual_seed(0)
    model = BertForQuestionAnswering(BertConfig(vocab_size=vocab_size, **SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *PIECES, *LETTERS, *string.punctuation]
    vocabulary += ["##" + piece for piece in (*PIECES, *LETTERS)]
    (FOLDER / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)) + "\n", encoding="utf-8")
    tokenizer = BertTokenizerFast(str(FOLDER / "vocab.txt"), model_max_length=128)
    model = new(len(tokenizer))
    model.save_pretrained(FOLDER)
    pipe = pipeline("question-answering", model=model, tokenizer=tokenizer, device="cpu")
    cases = [
        {"question": question, "context": context, "options": options}
        for question in QUESTIONS
        for context in CONTEXTS
        for options in OPTIONS
    ]
    for case in cases:
        case["answer"] = pipe(question=case["question"], context=case["context"], **case["options"])
    (FOLDER / "expected.json").write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")
