//! The codec against a foreign zlib and against itself; connections against each other.

use bytes::{Bytes, BytesMut};
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::connection::{Connection, Role};
use super::frame::{Decoder, Encoder, Frame};
use super::headers::{DICTIONARY, Headers, Inflater};

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_dictionary_is_the_drafts() {
    assert_eq!((DICTIONARY.len(), adler32(&DICTIONARY)), (1423, 0xe3c6_a7c2));
}

#[test]
fn blocks_of_zlib_itself_are_read() {
    // Two blocks of one stream, made by Python's zlib.
    let mut inflater = Inflater::new();
    let first = unhex("78f9e3c6a7c202a62346703a2b294a4dcc851625aca9a08006000000ffff");
    assert_eq!(inflater.block(&first).unwrap(), headers(&[("streamtype", "error")]));
    let second = unhex("02a5470c295029930829b08b40899bc9c20048721641a2371394ec190d00000000ffff");
    let expected = headers(&[("streamtype", "data"), ("port", "80"), ("requestid", "0")]);
    assert_eq!(inflater.block(&second).unwrap(), expected);
}

#[test]
fn a_block_that_inflates_without_end_is_refused() {
    let mut zlib = flate2::Compress::new(flate2::Compression::best(), true);
    zlib.set_dictionary(&DICTIONARY).unwrap();
    let mut bomb = Vec::with_capacity(64 * 1024);
    zlib.compress_vec(&vec![0; 1 << 20], &mut bomb, flate2::FlushCompress::Sync).unwrap();
    assert!(Inflater::new().block(&bomb).is_err());
}

fn any_headers() -> impl Strategy<Value = Headers> {
    proptest::collection::vec(("[a-z-]{1,12}", ".{0,40}"), 0..6)
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let id = 1_u32..0x7fff_ffff;
    prop_oneof![
        (id.clone(), any::<bool>(), any::<bool>(), any_headers()).prop_map(
            |(id, fin, unidirectional, headers)| Frame::SynStream { id, fin, unidirectional, headers }
        ),
        (id.clone(), any::<bool>(), any_headers()).prop_map(|(id, fin, headers)| Frame::SynReply {
            id,
            fin,
            headers
        }),
        (id.clone(), any::<bool>(), any_headers()).prop_map(|(id, fin, headers)| Frame::Headers {
            id,
            fin,
            headers
        }),
        (id.clone(), any::<u32>()).prop_map(|(id, status)| Frame::Reset { id, status }),
        proptest::collection::vec((0_u32..0x00ff_ffff, any::<u32>()), 0..4).prop_map(Frame::Settings),
        any::<u32>().prop_map(Frame::Ping),
        (id.clone(), any::<u32>()).prop_map(|(last, status)| Frame::GoAway { last, status }),
        (id.clone(), 0_u32..0x7fff_ffff).prop_map(|(id, delta)| Frame::WindowUpdate { id, delta }),
        (id, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(id, fin, bytes)| Frame::Data { id, fin, bytes: bytes.into() }),
        Just(Frame::Unknown(77)),
    ]
}

/// Data may arrive in several pieces: join them again.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut whole: Vec<Frame> = Vec::new();
    let mut open = false;
    for frame in frames {
        if let (true, Frame::Data { id, fin, bytes }) = (open, &frame)
            && let Some(Frame::Data { id: before, fin: ended, bytes: start }) = whole.last_mut()
            && before == id
        {
            let mut all = start.to_vec();
            all.extend_from_slice(bytes);
            *start = all.into();
            *ended = *fin;
            continue;
        }
        open = matches!(frame, Frame::Data { .. });
        whole.push(frame);
    }
    whole
}

proptest! {
    #[test]
    fn frames_survive_the_wire_however_it_is_cut(frame in any_frame(), other in any_frame(), cut in 1_usize..40) {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new();
        for frame in [frame, other] {
            let mut wire = BytesMut::new();
            encoder.encode(&frame, &mut wire).unwrap();
            let mut input = BytesMut::new();
            let mut frames = Vec::new();
            for piece in wire.chunks(cut) {
                input.extend_from_slice(piece);
                while let Some(frame) = decoder.decode(&mut input).unwrap() {
                    frames.push(frame);
                }
            }
            prop_assert_eq!(joined(frames), vec![frame]);
        }
    }

    #[test]
    fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::new();
        let mut input = BytesMut::from(bytes.as_slice());
        while let Ok(Some(_)) = decoder.decode(&mut input) {}
    }
}

fn pair() -> (Connection, Connection) {
    let (client, server) = tokio::io::duplex(4096);
    (Connection::start(client, Role::Client), Connection::start(server, Role::Server))
}

#[tokio::test]
async fn streams_carry_far_more_than_a_window_both_ways() {
    let (client, mut server) = pair();
    let content: Vec<u8> = (0..500_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let ask = async {
        let mut stream = client.open(headers(&[("streamType", "data")])).await.unwrap();
        stream.accepted().await.unwrap();
        let (mut source, sink) = stream.split();
        let send = async {
            sink.write(Bytes::from(content.clone())).await.unwrap();
            sink.finish().await.unwrap();
        };
        let receive = async {
            let mut all = Vec::new();
            while let Some(bytes) = source.read().await {
                all.extend_from_slice(&bytes);
            }
            all
        };
        tokio::join!(send, receive).1
    };
    let echo = async {
        let stream = server.next().await.unwrap();
        assert_eq!((stream.id(), stream.header("streamtype")), (1, Some("data")));
        stream.accept().await.unwrap();
        let (mut source, sink) = stream.split();
        while let Some(bytes) = source.read().await {
            sink.write(bytes).await.unwrap();
        }
        sink.finish().await.unwrap();
    };
    let (answer, ()) = tokio::join!(ask, echo);
    assert!(answer == content);
}

#[tokio::test]
async fn a_refused_stream_and_a_lost_connection_are_told() {
    let (client, mut server) = pair();
    let mut stream = client.open(headers(&[("a", "b")])).await.unwrap();
    server.next().await.unwrap().refuse().await.unwrap();
    assert!(stream.accepted().await.is_err());

    let mut stream = client.open(Headers::new()).await.unwrap();
    let theirs = server.next().await.unwrap();
    theirs.accept().await.unwrap();
    stream.accepted().await.unwrap();
    drop(server);
    client.ended().cancelled().await;
    let (mut source, sink) = stream.split();
    assert_eq!(source.read().await, None);
    assert!(sink.write(Bytes::from_static(b"x")).await.is_err());
}

/// A peer made of frames.
async fn raw(role: Role) -> (Connection, tokio::io::DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    (Connection::start(ours, role), theirs)
}

async fn read_frame(io: &mut tokio::io::DuplexStream, decoder: &mut Decoder, input: &mut BytesMut) -> Frame {
    use tokio::io::AsyncReadExt;
    loop {
        if let Some(frame) = decoder.decode(input).unwrap() {
            return frame;
        }
        assert!(io.read_buf(input).await.unwrap() > 0, "the connection ended");
    }
}

async fn write_frame(io: &mut tokio::io::DuplexStream, encoder: &mut Encoder, frame: &Frame) {
    use tokio::io::AsyncWriteExt;
    let mut wire = BytesMut::new();
    encoder.encode(frame, &mut wire).unwrap();
    io.write_all(&wire).await.unwrap();
}

#[tokio::test]
async fn pings_are_answered_and_windows_obeyed_once_the_peer_keeps_them() {
    let (mut server, mut peer) = raw(Role::Server).await;
    let (mut encoder, mut decoder, mut input) = (Encoder::new(), Decoder::new(), BytesMut::new());
    write_frame(&mut peer, &mut encoder, &Frame::Ping(7)).await;
    assert_eq!(read_frame(&mut peer, &mut decoder, &mut input).await, Frame::Ping(7));

    // 10 bytes are all the peer wants at first.
    write_frame(&mut peer, &mut encoder, &Frame::Settings(vec![(7, 10)])).await;
    let syn = Frame::SynStream { id: 1, fin: false, unidirectional: false, headers: Headers::new() };
    write_frame(&mut peer, &mut encoder, &syn).await;
    let stream = server.next().await.unwrap();
    stream.accept().await.unwrap();
    assert!(matches!(read_frame(&mut peer, &mut decoder, &mut input).await, Frame::SynReply { id: 1, .. }));
    let (_source, sink) = stream.split();
    let send = sink.write(Bytes::from_static(b"0123456789abcdef"));
    let watch = async {
        let first = read_frame(&mut peer, &mut decoder, &mut input).await;
        assert_eq!(first, Frame::Data { id: 1, fin: false, bytes: Bytes::from_static(b"0123456789") });
        write_frame(&mut peer, &mut encoder, &Frame::WindowUpdate { id: 1, delta: 100 }).await;
        let second = read_frame(&mut peer, &mut decoder, &mut input).await;
        assert_eq!(second, Frame::Data { id: 1, fin: false, bytes: Bytes::from_static(b"abcdef") });
    };
    let (sent, ()) = tokio::join!(send, watch);
    sent.unwrap();
}
