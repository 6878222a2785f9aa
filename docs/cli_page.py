"""An mkdocs hook that generates the command-line page from the help of the commands."""

from typing import Any

from bertie.cli.app import PLACES, load_command

PAGE, WIDTH = "cli.md", 100


def on_files(files: Any, config: Any) -> Any:
    """Add the page to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=render()))
    return files


def render() -> str:
    """Return the help of each command, as ``bertie COMMAND --help`` prints it, in Markdown."""
    parts = ["# Command line", "", "What `bertie COMMAND --help` prints; `bertie --help` lists the commands."]
    for name in PLACES:
        command = load_command(name)
        context = command.make_context(
            f"bertie {name}", [], resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH
        )
        parts += ["", f"## {name}", "", "```text", command.get_help(context).strip(), "```"]
    return "\n".join(parts) + "\n"
