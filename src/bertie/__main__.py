"""``python -m bertie`` is the command ``bertie``: what starts Python modules, such as torchrun, starts it."""

from bertie.cli import main

if __name__ == "__main__":
    main()
