"""Whose turn it is, in the words that the page has too."""

from __future__ import annotations


def whose(
    *,
    rolling: bool,
    unstarted: bool,
    clock: str,
    use: str,
    turn: str,
    played: bool,
    muted: bool,
    bars: int,
    overdubs: bool = False,
) -> tuple[str, str]:
    """Returns whose turn it is, in capitals, to be read from a distance; and what to do about it.

    Args:
        rolling: whether the song rolls.
        unstarted: whether a clock comes without Start.
        clock: whose tempo is played: `midi`, `internal`, `link` or `player`.
        use: when answers are heard.
        turn: whose turn it is, as the session says.
        played: whether anything has been played of the present loop.
        muted: whether answers are muted.
        bars: of a loop.
        overdubs: whether what is played is laid on what goes round.
    """
    if not rolling:
        if clock == "internal":
            return "STOPPED", "press Play on the page"
        if clock == "player" and turn == "yours":
            return "FIRST LOOP", "press close on the downbeat after it"
        if clock == "player":
            return "NO TEMPO", "play your first loop"
        if clock == "link":
            return "NO CLOCK", "press play in a program of the Link session"
        if unstarted:
            return "NO START", "stop your sequencer and press play, or press roll on a downbeat"
        return "NO CLOCK", "press play in your sequencer"
    if overdubs:
        return "OVERDUB", "muted" if muted else "what you play goes round too; undo takes it away"
    if use == "hold" and turn != "yours":
        return "FROZEN", "muted" if muted else "freeze lets it go"
    if use == "along":
        return "WITH YOU", "muted" if muted else "it plays along with you" if played else "play, and it plays along"
    if use == "follow":
        return "WITH YOU", "muted" if muted else "it follows your last loop" if played else "play, and it follows"
    if turn == "answer":
        return "ANSWERING", "muted" if muted else "listen"
    if played:
        return "LISTENING", "it answers when the loop is full"
    return "YOUR TURN", f"play {bars} {'bar' if bars == 1 else 'bars'}"
