//! How a channel's number and its bytes stand in a WebSocket message. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Message;

/// In v5 a message on this channel carries the number of a channel that its sender has finished.
pub(in crate::server) const CLOSE_CHANNEL: u8 = 255;

/// A subprotocol of exec and attach, or of port-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct Wire {
    /// Text messages, a digit and base64, for browsers of the time that had no binary messages.
    pub(in crate::server) base64: bool,
    /// 1 has a text on the error channel, from 4 on it is a Status, 5 can close channels.
    pub(in crate::server) version: u8,
}

impl Wire {
    /// By its name in `Sec-WebSocket-Protocol`; without a name it is the oldest.
    pub(in crate::server) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "" | "channel.k8s.io" => Self { base64: false, version: 1 },
            "base64.channel.k8s.io" => Self { base64: true, version: 1 },
            "v4.channel.k8s.io" => Self { base64: false, version: 4 },
            "v4.base64.channel.k8s.io" => Self { base64: true, version: 4 },
            "v5.channel.k8s.io" => Self { base64: false, version: 5 },
            _ => return None,
        })
    }

    pub(super) fn closes_channels(self) -> bool {
        self.version >= 5
    }

    pub(super) fn encode(self, channel: u8, bytes: &[u8]) -> Message {
        if self.base64 {
            let mut text = String::from(char::from(b'0'.saturating_add(channel)));
            STANDARD.encode_string(bytes, &mut text);
            Message::text(text)
        } else {
            let mut message = BytesMut::with_capacity(bytes.len() + 1);
            message.put_u8(channel);
            message.extend_from_slice(bytes);
            Message::Binary(message.freeze())
        }
    }

    /// Channel and bytes of a message; none for one that carries neither. Either frame type is taken, as upstream does.
    pub(super) fn decode(self, message: Message) -> Option<(u8, Bytes)> {
        let data = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            _ => return None,
        };
        let channel = *data.first()?;
        let bytes = data.slice(1..);
        if self.base64 {
            let bytes = STANDARD.decode(&bytes).ok()?;
            Some((channel.checked_sub(b'0')?, Bytes::from(bytes)))
        } else {
            Some((channel, bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(channel in 0_u8..64, bytes in any::<Vec<u8>>(), base64 in any::<bool>()) {
            let wire = Wire { base64, version: 4 };
            let back = wire.decode(wire.encode(channel, &bytes));
            prop_assert_eq!(back, Some((channel, Bytes::from(bytes))));
        }

        #[test]
        fn no_message_breaks_the_decoder(bytes in any::<Vec<u8>>(), base64 in any::<bool>()) {
            let _decoded = Wire { base64, version: 5 }.decode(Message::Binary(bytes.into()));
        }
    }

    #[test]
    fn the_wire_is_upstreams() {
        let binary = Wire::named("v5.channel.k8s.io").unwrap();
        assert_eq!(binary.encode(1, b"hi"), Message::Binary(Bytes::from_static(b"\x01hi")));
        let text = Wire::named("v4.base64.channel.k8s.io").unwrap();
        assert_eq!(text.encode(2, b"hi"), Message::text("2aGk="));
        assert_eq!(Wire::named("v6.channel.k8s.io"), None);
    }
}
