//! Packets are taken apart as they were put together, wherever the stream is cut; nonsense is an error.

use super::*;
use proptest::prelude::*;

fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    framed(bytes)
}

#[test]
fn a_request_is_what_the_protocol_says() {
    let write = Request::Write { handle: b"\xff\x00", offset: 7, bytes: b"abc" }.encode(9);
    let expected =
        [&[0, 0, 0, 26, 6, 0, 0, 0, 9, 0, 0, 0, 2, 0xff, 0][..], &7u64.to_be_bytes(), &[0, 0, 0, 3], b"abc"];
    assert_eq!(write, expected.concat());
    let open = Request::Open { path: "a", flags: OPEN_WRITE | OPEN_CREATE, mode: Some(0o600) }.encode(1);
    assert_eq!(open[4..], [3, 0, 0, 0, 1, 0, 0, 0, 1, b'a', 0, 0, 0, 10, 0, 0, 0, 4, 0, 0, 1, 0x80]);
    let sync = Request::Extended { name: "x", strings: &[b"h"] }.encode(2);
    assert_eq!(sync[4..], [200, 0, 0, 0, 2, 0, 0, 0, 1, b'x', 0, 0, 0, 1, b'h']);
    assert_eq!(greeting()[..], [0, 0, 0, 5, 1, 0, 0, 0, 3]);
}

#[test]
fn names_and_handles_stay_bytes() {
    let entry =
        [string(b"\xff\xfe"), string(b"long"), vec![0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0x81, 0x80]]
            .concat();
    let packet = [vec![104, 0, 0, 0, 5, 0, 0, 0, 1], entry].concat();
    let (id, reply) = reply(packet.into()).unwrap();
    let attributes = Attributes { size: Some(9), mode: Some(0o100_600), times: None };
    assert_eq!((id, attributes.sort()), (5, Some(Sort::File)));
    assert_eq!(reply, Reply::Names(vec![Entry { name: Bytes::from_static(b"\xff\xfe"), attributes }]));
}

#[test]
fn what_claims_to_be_long_is_refused() {
    let mut frames = Frames::default();
    frames.push(&u32::MAX.to_be_bytes());
    assert!(frames.next_packet().is_err());
    // A million names in nine bytes, a string beyond its packet, another version.
    assert!(reply(vec![104, 0, 0, 0, 5, 0, 0x0f, 0xff, 0xff].into()).is_err());
    assert!(reply(vec![103, 0, 0, 0, 5, 0, 0, 0, 9, 1].into()).is_err());
    assert!(extensions(vec![2, 0, 0, 0, 6].into()).is_err());
}

#[test]
fn extensions_are_found() {
    let packet = [vec![2, 0, 0, 0, 3], string(b"fsync@openssh.com"), string(b"1")].concat();
    assert_eq!(extensions(packet.into()).unwrap(), [Bytes::from_static(b"fsync@openssh.com")]);
    assert_eq!(numbers::<2>(7u64.to_be_bytes().to_vec().into()), [7, 0]);
}

proptest! {
    #[test]
    fn a_stream_may_be_cut_anywhere(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..10), cut in 1usize..20) {
        let stream: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for piece in stream.chunks(cut) {
            frames.push(piece);
            while let Some(packet) = frames.next_packet().unwrap() {
                found.push(packet.to_vec());
            }
        }
        prop_assert_eq!(found, bodies);
    }

    #[test]
    fn any_bytes_are_a_packet_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        reply(bytes.clone().into()).map(drop).unwrap_or(());
        extensions(bytes.into()).map(drop).unwrap_or(());
    }

    #[test]
    fn data_comes_through(id: u32, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let packet = [vec![103], id.to_be_bytes().to_vec(), string(&bytes)].concat();
        prop_assert_eq!(reply(packet.into()).unwrap(), (id, Reply::Data(bytes.into())));
    }
}
