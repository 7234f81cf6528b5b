use super::*;

#[test]
fn messages_are_cut_out_of_the_stream_wherever_it_breaks() {
    let stream = b"\0\x03one\0\0\0\x05three\0\x09cut off";
    for step in 1..=stream.len() {
        let mut messages = Messages::default();
        let mut found = Vec::new();
        for piece in stream.chunks(step) {
            messages.octets.extend_from_slice(piece);
            while let Some(message) = messages.next() {
                found.push(message);
            }
        }
        assert_eq!(found, [&b"one"[..], b"", b"three"], "in steps of {step}");
    }
}
