"""``bertie inspect``: what a model's folder contains, and which model classes it can be loaded into."""

import json
from typing import Any

import typer

from bertie.cli import options
from bertie.errors import counted
from bertie.messages import printable


def inspect(
    model: options.ModelName,
    as_json: options.AsJson = False,
) -> None:
    """Show what a model's folder contains and which classes it can be loaded into. Runs no code from it."""
    from bertie.cli.model_summary import describe

    found = describe(model)
    lines = [json.dumps(found, ensure_ascii=False)] if as_json else _lines(found)
    print("\n".join(map(printable, lines)))
    if "problem" in found:
        raise typer.Exit(2)


def _lines(found: dict[str, Any]) -> list[str]:
    files = ", ".join(f"{name} ({_size(size)})" for name, size in found["files"].items())
    lines = [
        f"model      {found['model']}",
        f"files      {files}",
        f"made as    {', '.join(found['architectures'] or ['(not stated)'])}",
        f"shape      {_shape(found['config'])}",
    ]
    if found["labels"] != ["LABEL_0", "LABEL_1"]:
        lines.append(f"labels     {', '.join(found['labels'])}")
    lines.append(f"tokenizer  {_tokenizer(found['tokenizer'])}")
    if found["embedding"]:
        lines.append(f"embedding  {_embedding(found['embedding'])}")
    if "problem" in found:
        return [*lines, f"weights    PROBLEM: {found['problem']}"]
    heads = ", ".join(found["heads"]) or "none"
    lines.append(f"weights    {found['parameters']:,} parameters in {found['tensors']} tensors, {found['dtype']}")
    lines += [f"heads      {heads}", "", "can be loaded as"]
    return lines + [f"  {name:<31}{_fit(fit)}" for name, fit in found["classes"].items()]


def _shape(config: dict[str, Any]) -> str:
    return (
        f"{counted(config['num_hidden_layers'], 'layer')}, hidden {config['hidden_size']}, "
        f"{counted(config['num_attention_heads'], 'head')}, "
        f"feed-forward {config['intermediate_size']}, vocabulary {config['vocab_size']:,}, "
        f"up to {config['max_tokens']} tokens"
    )


def _tokenizer(found: dict[str, Any]) -> str:
    if "problem" in found:
        return f"PROBLEM: {found['problem']}"
    return f"{found['tokens']:,} tokens"


def _embedding(found: dict[str, Any]) -> str:
    if "problem" in found:
        return f"PROBLEM: {found['problem']}"
    layers = found["layers"][:-1] if found["normalized"] and found["layers"][-1] == "Normalize" else found["layers"]
    steps = [*found["token_layers"], " + ".join(found["pooling"]), *layers]
    parts = [" → ".join(steps), "length 1" if found["normalized"] else ""]
    parts += [f"{found['truncate_dim']} numbers" if found["truncate_dim"] else ""]
    parts += [f"compared by {found['similarity']}" if found["similarity"] != "cosine" else ""]
    parts += [f"reads {found['max_length']} tokens of a text"]
    return ", ".join(part for part in parts if part)


def _fit(fit: dict[str, Any]) -> str:
    if "problem" in fit:
        return f"no: {fit['problem']}"
    if not fit["missing"]:
        return f"to be trained first: its head is that of a {fit['head_of']}" if "head_of" in fit else "complete"
    shown = ", ".join(fit["missing"][:2]) + (f" and {len(fit['missing']) - 2} more" if len(fit["missing"]) > 2 else "")
    return f"to be trained first: {shown}"


def _size(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count = count / 1000  # type: ignore[assignment]
    return f"{count:.1f} GB"
