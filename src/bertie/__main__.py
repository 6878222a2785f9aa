"""``python -m bertie`` runs the command ``bertie``, so that module launchers such as torchrun can start it."""

from bertie.cli import main

if __name__ == "__main__":
    main()
