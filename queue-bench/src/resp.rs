//! The little of Redis's protocol that a look at a server takes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use queue::BoxError;
use url::Url;

/// A server that does not answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection(BufReader<TcpStream>);

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Number(i64),
    List(Vec<Self>),
    Nothing,
}

impl Connection {
    /// To the server of a `redis://` URL.
    pub(crate) fn open(url: &str) -> Result<Self, BoxError> {
        let url = Url::parse(url)?;
        let (host, port) = (url.host_str().unwrap_or("127.0.0.1"), url.port().unwrap_or(6379));
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut connection = Self(BufReader::new(stream));
        let user = percent_decode_str(url.username()).decode_utf8()?;
        if let Some(password) = url.password() {
            let password = percent_decode_str(password).decode_utf8()?;
            let login = ["AUTH", &user, &password].into_iter().filter(|word| !word.is_empty());
            connection.ask(&login.collect::<Vec<_>>())?;
        }
        let database = url.path().trim_matches('/');
        if !database.is_empty() {
            connection.ask(&["SELECT", database])?;
        }
        Ok(connection)
    }

    /// One command and its answer; what the server refuses is an error.
    pub(crate) fn ask(&mut self, words: &[&str]) -> Result<Reply, BoxError> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(command.as_bytes())?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Reply, BoxError> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or("the server hung up")?;
        match kind {
            "+" => Ok(Reply::Text(rest.to_owned())),
            "-" => Err(format!("the server says: {rest}").into()),
            ":" => Ok(Reply::Number(rest.parse()?)),
            "$" | "*" if rest == "-1" => Ok(Reply::Nothing),
            "$" => self.text(rest.parse()?),
            "*" => (0..rest.parse::<usize>()?).map(|_| self.reply()).collect::<Result<_, _>>().map(Reply::List),
            _ => Err(format!("the server says something unheard of: {line}").into()),
        }
    }

    fn text(&mut self, bytes: usize) -> Result<Reply, BoxError> {
        // And the end of the line.
        let mut text = vec![0; bytes + 2];
        self.0.read_exact(&mut text)?;
        text.truncate(bytes);
        Ok(Reply::Text(String::from_utf8_lossy(&text).into_owned()))
    }
}

impl Reply {
    pub(crate) fn text(self) -> Result<String, BoxError> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("the server says {other:?}, and not a text").into()),
        }
    }

    pub(crate) fn list(self) -> Result<Vec<Self>, BoxError> {
        match self {
            Self::List(list) => Ok(list),
            other => Err(format!("the server says {other:?}, and not a list").into()),
        }
    }
}
