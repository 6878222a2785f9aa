"""Which encoding a text is in that is not UTF-8, where that can be told for sure."""

BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# French, German, Spanish, Portuguese, Italian, and those of the north
_LETTERS = ("àâæçèéêëîïôœùûü", "äöüß", "áéíñóúüªº", "àáâãçéêíóôõúü", "àèéìíòóùú", "åäæéöøü")
# where other code pages of Windows have these signs, they have them in the same places
_SIGNS = set("€„…‘’“”•–—™§©«»®°·¡¿£½¼\xa0")


def marked_encoding(start: bytes) -> str | None:
    """Return the encoding that a byte order mark other than UTF-8's names."""
    return next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)


def is_surely_cp1252(sample: bytes) -> bool:
    """Whether bytes that are not UTF-8 can only be meant as Windows' western European encoding.

    Read so, their letters beyond ASCII are those of one language. Cyrillic, Greek, Polish, Czech and Turkish, or the
    code pages of DOS and of old Macintoshes, give letters that no western language has together.
    """
    try:
        beyond = {one for one in sample.decode("cp1252").lower() if not one.isascii()}
    except UnicodeDecodeError:
        return False
    return any(beyond - _SIGNS <= set(letters) for letters in _LETTERS)
