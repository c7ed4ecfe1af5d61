//! The decoder against tables, under every split, and against an independent parser.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;
use sse_stream::SseByteStream;

use super::*;

/// Everything a decoder says about a stream.
#[derive(Debug, PartialEq, Eq, Default)]
struct Heard {
    events: Vec<(Vec<u8>, Vec<u8>)>,
    cut_off: Option<(Vec<u8>, Vec<u8>)>,
    n_comments: u64,
}

fn decode<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let mut decoder = SseDecoder::new();
    let mut heard = Heard::default();
    for frame in frames {
        decoder.push(frame, |e| {
            heard.events.push((e.name.to_vec(), e.data.to_vec()))
        });
    }
    heard.cut_off = decoder.finish().map(|e| (e.name.to_vec(), e.data.to_vec()));
    heard.n_comments = decoder.n_comments();
    heard
}

#[track_caller]
fn check(text: &str, data: &[&str], cut_off: Option<&str>) {
    let want: Vec<_> = data.iter().map(|d| d.as_bytes().to_vec()).collect();
    let whole = decode([text.as_bytes()]);
    let bytewise = decode(text.as_bytes().chunks(1));
    assert_eq!(whole, bytewise, "splitting {text:?} changes it");
    let got: Vec<_> = whole.events.into_iter().map(|(_, data)| data).collect();
    assert_eq!(got, want, "events of {text:?}");
    let got = whole
        .cut_off
        .map(|(_, data)| String::from_utf8(data).unwrap());
    assert_eq!(got.as_deref(), cut_off, "end of {text:?}");
}

#[test]
fn lines_end_in_lf_cr_or_crlf_even_mixed() {
    check("data: a\n\ndata: b\n\n", &["a", "b"], None);
    check("data: a\r\rdata: b\r\r", &["a", "b"], None);
    check("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"], None);
    check(
        "data: a\r\n\ndata: b\n\r\ndata: c\r\r\n",
        &["a", "b", "c"],
        None,
    );
}

#[test]
fn data_lines_are_joined_and_one_blank_is_dropped() {
    check("data: a\ndata:b\ndata:  c\n\n", &["a\nb\n c"], None);
    check("data\n\n", &[""], None);
    check("data:\ndata:\n\n", &["\n"], None);
    check("data: a: b\n\n", &["a: b"], None);
}

#[test]
fn comments_and_other_fields_make_no_event() {
    check(": keep-alive\n\n: again\n\ndata: a\n\n", &["a"], None);
    check("id: 7\nretry: 10\nfoo: bar\n\n", &[], None);
    check("event: ping\n\n", &[], None);
    check("\n\n\n", &[], None);
    let heard = decode([b": one\n\n:two\ndata: a\n\n".as_slice()]);
    assert_eq!(heard.n_comments, 2);
}

#[test]
fn the_name_of_an_event_holds_for_that_event_only() {
    let heard = decode([b"event: error\ndata: a\n\ndata: b\n\n".as_slice()]);
    let want: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (b"error".to_vec(), b"a".to_vec()),
        (Vec::new(), b"b".to_vec()),
    ];
    assert_eq!(heard.events, want);
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_only() {
    check("\u{feff}data: a\n\n", &["a"], None);
    check("\u{feff}\u{feff}data: a\n\n", &[], None);
    check("data: \u{feff}\n\n", &["\u{feff}"], None);
    // U+FEF0 shares two bytes with the mark and is none.
    check("\u{fef0}: x\ndata: a\n\n", &["a"], None);
    check("\u{feff}", &[], None);
}

#[test]
fn an_event_cut_off_by_the_end_is_reported() {
    check("data: a\n\ndata: b", &["a"], Some("b"));
    check("data: a\n\ndata: b\n", &["a"], Some("b"));
    check("data: a\n\ndata: b\ndata: c", &["a"], Some("b\nc"));
    check("data: a\n\nda", &["a"], Some(""));
    check("data: a\n\nevent: x\n", &["a"], Some(""));
    check("data: a\n\n: keep-al", &["a"], None);
    check("data: a\n\n\r", &["a"], None);
    assert_eq!(decode([&BOM[..2]]).cut_off, Some((Vec::new(), Vec::new())));
}

#[test]
fn a_character_split_between_frames_is_whole_in_the_event() {
    let text = "data: 世界🙂\n\n".as_bytes();
    for at in 0..=text.len() {
        let (a, b) = text.split_at(at);
        let heard = decode([a, b]);
        assert_eq!(
            heard.events,
            vec![(Vec::new(), "世界🙂".as_bytes().to_vec())]
        );
    }
}

#[test]
fn an_event_in_one_slice_is_handed_out_without_a_copy() {
    let text = b"data: first\n\ndata: second\n\n";
    let range = text.as_ptr_range();
    let mut n_inside = 0;
    SseDecoder::new().push(text, |event| {
        n_inside += usize::from(range.contains(&event.data.as_ptr()));
    });
    assert_eq!(n_inside, 2);
}

#[test]
fn recorded_streams_of_real_engines_decode_to_their_last_event() {
    for (name, text) in [
        (
            "vllm chat",
            include_str!("../../tests/data/vllm_sse_chat.txt"),
        ),
        (
            "vllm completions",
            include_str!("../../tests/data/vllm_sse_completions.txt"),
        ),
        (
            "llama chat",
            include_str!("../../tests/data/llama_sse_chat.txt"),
        ),
        (
            "llama completions",
            include_str!("../../tests/data/llama_sse_completions.txt"),
        ),
    ] {
        // The recordings may lack the blank line behind the last event.
        let text = format!("{}\n\n", text.trim_end());
        let heard = decode([text.as_bytes()]);
        assert_eq!(heard.events.last().unwrap().1, b"[DONE]", "{name}");
        assert_eq!(heard.events.len(), text.matches("data: ").count(), "{name}");
        assert_eq!(heard.cut_off, None, "{name}");
    }
}

/// Bytes made of what matters to the grammar, so that random streams have events in them.
fn stream_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\n".to_vec()),
        2 => Just(b"\r".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        4 => Just(b"data: ".to_vec()),
        1 => Just(b"data:".to_vec()),
        1 => Just(b"data".to_vec()),
        1 => Just(b"event: ".to_vec()),
        1 => Just(b": ".to_vec()),
        1 => Just(b" ".to_vec()),
        1 => Just(BOM.to_vec()),
        1 => Just("世🙂é".as_bytes().to_vec()),
        3 => "[ -~]{0,12}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A well-formed stream: what a server could mean to send, with any line ends.
fn well_formed() -> impl Strategy<Value = String> {
    let line_end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
    let line = prop_oneof![
        4 => "(data|data: |data:)[a-zé世 :{}\"]{0,10}",
        1 => "event: ?[a-z]{0,5}",
        1 => ":[a-z ]{0,6}",
        1 => "id: [0-9]{1,3}",
    ];
    let block = (proptest::collection::vec(line, 1..5), line_end).prop_map(|(lines, end)| {
        let mut text = lines.join(end);
        text.push_str(end);
        text.push_str(end);
        text
    });
    (any::<bool>(), proptest::collection::vec(block, 0..8)).prop_map(|(bom, blocks)| {
        let mut text = String::from(if bom { "\u{feff}" } else { "" });
        text.extend(blocks);
        text
    })
}

fn split_at(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Bytes> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.push(0);
    at.push(bytes.len());
    at.sort_unstable();
    at.windows(2)
        .map(|w| Bytes::copy_from_slice(&bytes[w[0]..w[1]]))
        .collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    proptest::collection::vec(any::<prop::sample::Index>(), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    /// However the bytes of a stream are split over frames, the same events, the same comments and the
    /// same cut-off event come out.
    #[test]
    fn decoding_is_invariant_under_any_split(bytes in stream_bytes(), cuts in cuts()) {
        let whole = decode([bytes.as_slice()]);
        let frames = split_at(&bytes, &cuts);
        prop_assert_eq!(&decode(frames.iter().map(|f| &f[..])), &whole);
        prop_assert_eq!(&decode(bytes.chunks(1)), &whole);
    }

    /// Of every well-formed stream, however split, an independent parser reads the same events.
    #[test]
    fn an_independent_parser_reads_the_same_events(text in well_formed(), cuts in cuts()) {
        let frames = split_at(text.as_bytes(), &cuts);
        let heard = decode(frames.iter().map(|f| &f[..]));
        let oracle: Vec<_> = SseByteStream::new(stream::iter(frames.into_iter().map(Ok::<_, Infallible>)))
            .map(|event| event.expect("the stream is well formed"))
            .filter_map(|sse| async { Some((sse.event.unwrap_or_default().into_bytes(), sse.data?.into_bytes())) })
            .collect::<Vec<(Vec<u8>, Vec<u8>)>>()
            .now_or_never()
            .expect("every frame is at hand");
        prop_assert_eq!(heard.events, oracle);
        prop_assert_eq!(heard.cut_off, None);
    }
}
