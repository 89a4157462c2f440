"""Text of others made fit for a log line or a status."""

from __future__ import annotations

MOST_CHARACTERS = 500


def printable(text: str, limit: int = MOST_CHARACTERS) -> str:
    """Return ``text`` on one line and without anything that a terminal would obey.

    Control characters, line breaks, marks of writing direction and halves of surrogate pairs are
    written out as escapes; of a longer text the first ``limit`` characters are taken, and an
    ellipsis says so.
    """
    kept = ''.join(
        character if character.isprintable() else character.encode('unicode_escape').decode()
        for character in text[:limit]
    )
    return kept + '…' if len(text) > limit else kept


def is_unicode(text: str) -> bool:
    """Whether ``text`` can be written in UTF-8: it holds no half of a surrogate pair.

    Python reads bytes of the command line that are no UTF-8 as such halves.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
