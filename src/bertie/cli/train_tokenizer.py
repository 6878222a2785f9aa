"""``bertie train-tokenizer``: a WordPiece vocabulary of one's own texts."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from bertie.cli import options


def train_tokenizer(
    files: Annotated[
        list[str], typer.Argument(help="Texts: .txt, .jsonl, .csv, .tsv, .parquet (also compressed), or folders.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new folder to write.")],
    size: Annotated[int, typer.Option("--size", min=6, help="Entries of the vocabulary, special tokens included.")] = (
        30_522
    ),
    cased: Annotated[bool, typer.Option("--cased/--uncased", help="Keep capital letters, or make all small.")] = False,
    strip_accents: Annotated[
        bool | None,
        typer.Option("--strip-accents/--keep-accents", help="The default is to strip them if letters are made small."),
    ] = None,
    chinese_chars: Annotated[
        bool, typer.Option("--chinese-chars/--no-chinese-chars", help="Make each Chinese character a word.")
    ] = True,
    min_frequency: Annotated[
        int, typer.Option("--min-frequency", min=1, help="Two pieces are merged if they occur this often together.")
    ] = 2,
    special_token: Annotated[
        list[str] | None, typer.Option("--special-token", help="A special token more; may be repeated.")
    ] = None,
    column: options.Column = "text",
    *,
    form: options.FormatOptions,
) -> None:
    """Train a WordPiece vocabulary on texts: the same one, byte for byte, from the same texts."""
    import bertie
    from bertie.data.running_text import Documents

    texts = Documents(files, form.form(), column, "lines")
    plain = bertie.BertTokenizer(
        do_lower_case=not cased,
        strip_accents=strip_accents,
        tokenize_chinese_chars=chinese_chars,
        model_max_length=512,
    )
    tokenizer = plain.train_new_from_iterator(
        texts, size, new_special_tokens=special_token, min_frequency=min_frequency
    )
    tokenizer.save_pretrained(out)
    print(json.dumps({"tokenizer": str(out), "size": len(tokenizer)}))
    print(f'bertie: "padding is never computed" → {tokenizer.tokenize("padding is never computed")}', file=sys.stderr)
