import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hubbub.address import (
    MAX_ADDRESS_BYTES,
    MAX_LEVELS,
    Address,
    AddressError,
    Kind,
    check_pattern,
    escape_level,
    from_dotted,
    is_pattern,
    parse_address,
    pattern_from_dotted,
    pattern_to_dotted,
    queue_address,
    stream_address,
    to_dotted,
    unescape_level,
)

# Characters and codes that the escape is about: where collisions would be.
FRAGMENTS = ". / + # * $ % 2 5 25 E F B 3 4 2E 2F 2A a é %2E %2F %2B %23 %24 %25 %252E %252F %2e"
fragments = st.sampled_from(FRAGMENTS.split())
dotted_texts = st.lists(fragments, max_size=8).map("".join) | st.text(max_size=20)
topic_texts = dotted_texts.map(lambda text: text.replace("+", "").replace("#", ""))
roots = st.booleans()


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("a/b/c", Address(Kind.TOPIC, "a/b/c")),
            ("/", Address(Kind.TOPIC, "/")),
            ("a b.c*%2B", Address(Kind.TOPIC, "a b.c*%2B")),
            ("$SYS/uptime", Address(Kind.TOPIC, "$SYS/uptime")),
            ("$share/g/a", Address(Kind.TOPIC, "$share/g/a")),
            ("$queues/a", Address(Kind.TOPIC, "$queues/a")),
            ("$queue/orders", Address(Kind.QUEUE, "orders")),
            ("$queue/eu/orders.fifo", Address(Kind.QUEUE, "eu/orders.fifo")),
            ("$queue/a%2Bb%23", Address(Kind.QUEUE, "a+b#")),
            ("$queue/a%252Bb%2Fc", Address(Kind.QUEUE, "a%2Bb%2Fc")),
            ("$stream/telemetry", Address(Kind.STREAM, "telemetry")),
            ("$stream/telemetry/device/7", Address(Kind.STREAM, "telemetry", "device/7")),
            ("$stream/a%2Fb/k%2B%2F", Address(Kind.STREAM, "a/b", "k+%2F")),
        ],
    )
    def test_typed_value_and_back(self, text: str, expected: Address) -> None:
        assert parse_address(text) == expected
        assert str(expected) == text
        assert hash(parse_address(text)) == hash(expected)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "empty"),
            ("a/\0/b", r"U\+0000"),
            ("$queue/a\0", r"U\+0000"),
            ("a/+/b", "wildcards"),
            ("a/b#", "wildcards"),
            ("$queue/#", "wildcards"),
            ("$queue", "needs a name"),
            ("$stream", "needs a name"),
            ("$queue/", "needs the name"),
            ("$stream/", "needs the name"),
            ("$stream//key", "needs the name"),
            ("$stream/name/", "partition key"),
            ("a/\ud800", "surrogate"),
            ("x" * (MAX_ADDRESS_BYTES + 1), "65535 bytes"),
            ("é" * (MAX_ADDRESS_BYTES // 2 + 1), "65535 bytes"),
            ("/" * MAX_LEVELS, "levels"),
        ],
    )
    def test_refused(self, text: str, reason: str) -> None:
        with pytest.raises(AddressError, match=reason):
            parse_address(text)

    def test_limits_are_inclusive(self) -> None:
        assert parse_address("x" * MAX_ADDRESS_BYTES).kind is Kind.TOPIC
        assert parse_address("/" * (MAX_LEVELS - 1)).kind is Kind.TOPIC

    def test_made_addresses_are_checked(self) -> None:
        assert str(queue_address("orders")) == "$queue/orders"
        assert str(stream_address("telemetry")) == "$stream/telemetry"
        assert str(stream_address("telemetry", "a/b")) == "$stream/telemetry/a/b"
        with pytest.raises(AddressError, match="queue can't be empty"):
            queue_address("")
        with pytest.raises(AddressError, match="stream can't be empty"):
            stream_address("", "key")
        with pytest.raises(AddressError, match="partition key can't be empty"):
            stream_address("name", "")
        with pytest.raises(AddressError, match=r"U\+0000"):
            stream_address("name", "\0")
        with pytest.raises(AddressError, match="at most"):
            queue_address("x" * MAX_ADDRESS_BYTES)

    def test_long_text_is_cut_in_the_message(self) -> None:
        with pytest.raises(AddressError) as caught:
            parse_address("+" * 5000)
        assert len(str(caught.value)) < 200

    @given(dotted_texts.filter(lambda text: text and "\0" not in text))
    def test_every_queue_name_has_its_address(self, name: str) -> None:
        text = str(queue_address(name))
        assert "+" not in text
        assert "#" not in text
        assert parse_address(text) == queue_address(name)

    @given(
        dotted_texts.filter(lambda text: text and "\0" not in text),
        st.none() | dotted_texts.filter(lambda text: text and "\0" not in text),
    )
    def test_every_stream_and_key_has_its_address(self, name: str, key: str | None) -> None:
        address = stream_address(name, key)
        assert parse_address(str(address)) == address

    @given(topic_texts)
    def test_parsing_any_text_gives_its_spelling_or_an_address_error(self, text: str) -> None:
        try:
            address = parse_address(text)
        except AddressError:
            return
        assert str(address) == text


class TestPatterns:
    @pytest.mark.parametrize(
        "pattern", ["#", "+", "a/+/b/#", "#/a/#", "a//+", "+/+", "a", "$SYS/#"]
    )
    def test_accepted(self, pattern: str) -> None:
        check_pattern(pattern)

    @pytest.mark.parametrize("pattern", ["", "a+", "a/#b", "++", "##", "a/b+/c", "a\0/#"])
    def test_refused(self, pattern: str) -> None:
        with pytest.raises(AddressError):
            check_pattern(pattern)

    def test_length_and_depth_are_limited(self) -> None:
        check_pattern("/".join(["#"] * MAX_LEVELS))
        with pytest.raises(AddressError, match="levels"):
            check_pattern("/".join(["#"] * (MAX_LEVELS + 1)))

    def test_is_pattern(self) -> None:
        assert is_pattern("a/+")
        assert is_pattern("#")
        assert not is_pattern("a/*")


class TestDotted:
    @pytest.mark.parametrize(
        ("topic", "key"),
        [
            ("v1.2/temp", "v1%2E2.temp"),
            ("a/b/c", "a.b.c"),
            ("", ""),
            ("/a//", ".a.."),
            ("100%", "100%"),
            ("100%25/x", "100%25.x"),
            ("%2E", "%252E"),
            ("%252E", "%25252E"),
            ("%25252E", "%2525252E"),
            ("%2e", "%2e"),
            ("%2F", "/"),
            ("%252F", "%2F"),
            ("%25252F", "%252F"),
            ("%2B/%23", "+.#"),
            ("%252B/%2523", "%2B.%23"),
            ("a*/*", "a*.*"),
            ("$SYS/x", "$SYS.x"),
            ("%24SYS/x", "%24SYS.x"),
        ],
    )
    def test_examples_both_ways(self, topic: str, key: str) -> None:
        assert to_dotted(topic) == key
        assert from_dotted(key) == topic

    @pytest.mark.parametrize(
        ("topic", "key"),
        [
            ("%24queue/orders", "$queue.orders"),
            ("%24", "$"),
            ("%2524x", "%24x"),
            ("%252524x", "%2524x"),
            ("a/$b", "a.$b"),
            ("a$", "a$"),
            ("%25", "%25"),
        ],
    )
    def test_rooted_examples_both_ways(self, topic: str, key: str) -> None:
        assert from_dotted(key, rooted=True) == topic
        assert to_dotted(topic, rooted=True) == key

    def test_a_dollar_topic_has_no_dotted_spelling_at_the_root(self) -> None:
        with pytest.raises(AddressError, match="escaped"):
            to_dotted("$SYS/x", rooted=True)

    @pytest.mark.parametrize("topic", ["a/+", "a#", "+"])
    def test_a_wildcard_is_no_topic(self, topic: str) -> None:
        with pytest.raises(AddressError, match="escaped"):
            to_dotted(topic)

    @given(topic_texts)
    @example("%25%2E.")
    def test_identity_from_the_topic_side(self, topic: str) -> None:
        assert from_dotted(to_dotted(topic)) == topic

    @given(dotted_texts, roots)
    @example("%25%2E/", True)
    def test_identity_from_the_dotted_side(self, key: str, rooted: bool) -> None:
        topic = from_dotted(key, rooted=rooted)
        assert "+" not in topic
        assert "#" not in topic
        assert topic.count("/") == key.count(".")
        assert not (rooted and topic.startswith("$"))
        assert to_dotted(topic, rooted=rooted) == key

    @given(topic_texts.filter(lambda topic: not topic.startswith("$")))
    def test_identity_from_the_topic_side_at_the_root(self, topic: str) -> None:
        assert from_dotted(to_dotted(topic, rooted=True), rooted=True) == topic

    @given(topic_texts, topic_texts)
    def test_no_two_topics_meet(self, one: str, other: str) -> None:
        assume(one != other)
        assert to_dotted(one) != to_dotted(other)

    @given(dotted_texts, dotted_texts, roots)
    def test_no_two_keys_meet(self, one: str, other: str, rooted: bool) -> None:
        assume(one != other)
        assert from_dotted(one, rooted=rooted) != from_dotted(other, rooted=rooted)

    @given(st.text("abcdefghijklmnopqrstuvwxyz0123456789 %-_:é", max_size=20))
    def test_ordinary_text_is_left_alone(self, text: str) -> None:
        assume("%2" not in text)
        assert to_dotted(text) == text == from_dotted(text, rooted=True)


class TestDottedPatterns:
    @pytest.mark.parametrize(
        ("pattern", "binding"),
        [
            ("+/b/#", "*.b.#"),
            ("#", "#"),
            ("a*/#", "a*.#"),
            ("a%2B/%2B", "a+.+"),
            ("a%23/%2Fx", "a#./x"),
            ("v1.2/+", "v1%2E2.*"),
            ("", ""),
            ("//+", "..*"),
        ],
    )
    def test_examples_both_ways(self, pattern: str, binding: str) -> None:
        assert pattern_from_dotted(binding) == pattern
        assert pattern_to_dotted(pattern) == binding

    def test_the_root_is_guarded(self) -> None:
        assert pattern_from_dotted("$SYS.#", rooted=True) == "%24SYS/#"
        assert pattern_to_dotted("%24SYS/#", rooted=True) == "$SYS.#"
        assert pattern_from_dotted("#.$x", rooted=True) == "#/$x"

    @pytest.mark.parametrize("pattern", ["*/a", "a/*", "a+/b", "a#"])
    def test_what_has_no_dotted_form_is_refused(self, pattern: str) -> None:
        with pytest.raises(AddressError):
            pattern_to_dotted(pattern)

    @given(dotted_texts, roots)
    def test_identity(self, binding: str, rooted: bool) -> None:
        pattern = pattern_from_dotted(binding, rooted=rooted)
        if pattern and "\0" not in pattern:
            check_pattern(pattern)
        assert pattern_to_dotted(pattern, rooted=rooted) == binding

    @given(dotted_texts, roots)
    def test_a_binding_without_wildcards_is_spelled_as_its_key(
        self, binding: str, rooted: bool
    ) -> None:
        assume(not {"*", "#"} & set(binding.split(".")))
        assert pattern_from_dotted(binding, rooted=rooted) == from_dotted(binding, rooted=rooted)


class TestLevels:
    @given(dotted_texts, roots)
    def test_any_name_is_one_level_and_back(self, name: str, rooted: bool) -> None:
        level = escape_level(name, rooted=rooted)
        assert not {"/", "+", "#"} & set(level)
        assert unescape_level(level, rooted=rooted) == name

    def test_examples(self) -> None:
        assert escape_level("amq.topic") == "amq.topic"
        assert escape_level("$a/b+", rooted=True) == "%24a%2Fb%2B"
        assert escape_level("$a") == "$a"
        with pytest.raises(AddressError, match="escaped"):
            unescape_level("a/b")
