//! Answers of the server.

use bytes::Bytes;
use fred::types::Resp3Frame;

/// An answer, of a script or of a plain command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Nil,
    Int(i64),
    Bytes(Bytes),
    List(Vec<Reply>),
}

impl Reply {
    /// The number, also of one written as text.
    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// The bytes.
    pub(crate) fn bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The bytes as text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The items.
    pub(crate) fn list(self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }
}

/// What came instead of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoReply {
    /// An error reply.
    Refused(String),
    /// A kind of answer that this protocol version does not have.
    Strange(String),
}

/// Reads a frame of the client; the connection for calls speaks RESP2, whose five kinds are all there are.
pub(super) fn read(frame: Resp3Frame) -> Result<Reply, NoReply> {
    match frame {
        Resp3Frame::Null => Ok(Reply::Nil),
        Resp3Frame::Number { data, .. } => Ok(Reply::Int(data)),
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => Ok(Reply::Bytes(data)),
        Resp3Frame::Array { data, .. } => Ok(Reply::List(data.into_iter().map(read).collect::<Result<_, _>>()?)),
        Resp3Frame::SimpleError { data, .. } => Err(NoReply::Refused(data.to_string())),
        Resp3Frame::BlobError { data, .. } => Err(NoReply::Refused(String::from_utf8_lossy(&data).into_owned())),
        other => Err(NoReply::Strange(format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_become_replies() {
        let blob = |text: &'static str| Resp3Frame::BlobString { data: text.into(), attributes: None };
        let number = Resp3Frame::Number { data: -7, attributes: None };
        let nested = Resp3Frame::Array { data: vec![blob("a"), number, Resp3Frame::Null], attributes: None };
        let list = read(nested).unwrap().list().unwrap();
        assert_eq!(list, [Reply::Bytes("a".into()), Reply::Int(-7), Reply::Nil]);
        assert_eq!((list[0].text(), list[1].int(), list[2].int()), (Some("a"), Some(-7), None));
        assert_eq!(read(blob("42")).unwrap().int(), Some(42));
        assert_eq!(read(blob("x")).unwrap().bytes(), Some("x".into()));
        let error = Resp3Frame::SimpleError { data: "OOM full".into(), attributes: None };
        assert_eq!(read(error), Err(NoReply::Refused("OOM full".into())));
        let strange = Resp3Frame::Double { data: 1.0, attributes: None };
        assert!(matches!(read(strange), Err(NoReply::Strange(_))));
    }
}
