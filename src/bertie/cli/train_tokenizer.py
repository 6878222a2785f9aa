"""``bertie train-tokenizer`` and ``extend-vocabulary``: a WordPiece vocabulary from your own texts."""

import json
from typing import Annotated

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.reading import say_notes
from bertie.cli.verbosity import say
from bertie.errors import InputError
from bertie.messages import printable


def train_tokenizer(
    files: Annotated[
        list[str], Argument(help="Texts: .txt, .jsonl, .csv, .tsv, .parquet (also compressed), or folders.")
    ],
    out: options.Out,
    size: Annotated[int, Option(min=6, help="Entries of the vocabulary, special tokens included.")] = 30_522,
    cased: Annotated[bool, Option("--cased/--uncased", help="Keep capital letters, or lowercase all.")] = False,
    strip_accents: Annotated[
        bool | None,
        Option("--strip-accents/--keep-accents", help="The default is to strip them if uncased."),
    ] = None,
    chinese_chars: Annotated[
        bool, Option("--chinese-chars/--no-chinese-chars", help="Make each Chinese character a word.")
    ] = True,
    min_frequency: Annotated[int, Option(min=1, help="Merge two pieces only if they occur together this often.")] = 2,
    special_token: Annotated[list[str] | None, Option(help="An extra special token; may be repeated.")] = None,
    column: options.Column = "text",
    *,
    form: options.FormatOptions,
) -> None:
    """Train a WordPiece vocabulary on texts; the same texts always give the same file, byte for byte."""
    import bertie
    from bertie.checkpoints.new_folder import check_new
    from bertie.data.running_text import Documents
    from bertie.files import atomic_folder

    check_new(out)
    texts = Documents(files, form.as_format(), column, "lines")
    plain = bertie.BertTokenizer(
        do_lower_case=not cased,
        strip_accents=strip_accents,
        tokenize_chinese_chars=chinese_chars,
        model_max_length=512,
    )
    tokenizer = plain.train_new_from_iterator(
        texts, size, new_special_tokens=special_token, min_frequency=min_frequency
    )
    with atomic_folder(out) as folder:
        tokenizer.save_pretrained(folder)
    say_notes(texts.notes)
    print(json.dumps({"tokenizer": str(out), "size": len(tokenizer)}))
    say(f'bertie: "padding is never computed" → {tokenizer.tokenize("padding is never computed")}')


def extend_vocabulary(
    model: options.ModelName,
    files: Annotated[list[str], Argument(help="Texts of the domain: files or folders, as for train-tokenizer.")],
    out: options.Out,
    add: Annotated[int, Option(min=1, help="How many words to add.")] = 2000,
    min_frequency: Annotated[int, Option(min=1, help="Words that occur less often are not added.")] = 5,
    column: options.Column = "text",
    *,
    form: options.FormatOptions,
) -> None:
    """Add a domain's frequent words to a model's vocabulary, each embedded as the mean of its pieces; adapt it then."""
    from bertie.checkpoints.new_folder import check_new
    from bertie.compression.folder import open_model
    from bertie.data.running_text import Documents
    from bertie.pretraining.vocabulary_extension import add_words, find_words

    check_new(out)
    opened = open_model(model)
    if opened.model.config.quantization_config is not None:
        raise InputError(f"{model!r} has 8-bit weights; extend the model that it was made from.")
    texts = Documents(files, form.as_format(), column, "lines")
    found = find_words(texts, opened.tokenizer, add, min_frequency)
    add_words(opened.model, found.pieces)
    opened.write(out, opened.model, tokenizer=found.tokenizer)
    say_notes(texts.notes)
    words = list(found.pieces)
    figures = {"pieces_per_word_before": round(found.before, 4), "pieces_per_word": round(found.after, 4)}
    print(json.dumps({"model": str(out), "vocabulary": len(found.tokenizer), "added": len(words), **figures}))
    say(f"bertie: the first words added are {printable(', '.join(words[:8]))}")
