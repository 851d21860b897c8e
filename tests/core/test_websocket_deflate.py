"""The choice among offers of compression, without a connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from wsproto.extensions import PerMessageDeflate

from hubbub.net.websocket_deflate import choose_offer

NAMES = [
    "server_no_context_takeover", "client_no_context_takeover",
    "server_max_window_bits", "client_max_window_bits", "x",
]  # fmt: skip
PARAMETERS = st.tuples(st.sampled_from(NAMES), st.sampled_from(["", "=", '="9"', "=8", "=15"]))
OFFERS = st.lists(PARAMETERS.map("".join), max_size=4).map(
    lambda parameters: "; ".join(["permessage-deflate", *parameters])
)


@given(st.lists(OFFERS | st.text(alphabet='permsag-dflt;= "189', max_size=30)))
def test_any_offers(offers: list[str]) -> None:
    chosen = choose_offer(offers)
    if chosen is not None:
        assert choose_offer([chosen]) == chosen
        assert PerMessageDeflate().accept(chosen) is not None


@given(st.lists(OFFERS), OFFERS)
def test_the_first_that_can_be_accepted(before: list[str], offer: str) -> None:
    chosen = choose_offer(before)
    assert choose_offer([*before, offer]) == (choose_offer([offer]) if chosen is None else chosen)
