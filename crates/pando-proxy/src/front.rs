//! The client's side of one exchange, whatever protocol it speaks.

use std::io;
use std::task::{Context, Poll};

use pando_http::{Malformed, ResponseHead, Trailers};

/// What a client sends and gets within one exchange. All of it is polled by the one task that carries the exchange out.
pub(crate) trait Front {
    /// How many bytes of the request's body are here, in [`Front::body`]; 0 once it is over.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, BodyError>>;

    /// What [`Front::poll_body`] found.
    fn body(&self) -> &[u8];

    /// Forgets the first `count` bytes of it.
    fn consume(&mut self, count: usize);

    /// Of the request, once its body is over.
    fn trailers(&self) -> Option<&Trailers>;

    /// Whether the request's body is over. What is not cannot be followed by another request.
    fn is_body_over(&self) -> bool;

    /// Whether another request may follow, as things are.
    fn goes_on(&self) -> bool;

    /// Ready when the client has gone. To be asked only when nothing more is to be read of the body.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether the client would take that head of an answer for what it is.
    fn agrees(&self, _passed: &Passed<'_>) -> bool {
        true
    }

    /// Queues an answer that comes before the answer proper: 1xx.
    fn interim(&mut self, answer: &Answer<'_>);

    /// Queues the head of the answer.
    fn head(&mut self, answer: &Answer<'_>);

    /// Takes some of the answer's body, at least a byte; what is queued goes out along with it or stays queued.
    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;

    /// Ready when all that was queued is out.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the answer's body; ready when all is out. May be called again until then, and only then.
    fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&Trailers>) -> Poll<io::Result<()>>;
}

/// Why there is no more of a request's body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// The head of an answer, on its way to a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) reason: &'a [u8],
    /// What an endpoint sent, and where.
    pub(crate) passed: Option<Passed<'a>>,
    /// Fields of our own.
    pub(crate) own: &'a [(&'a str, &'a [u8])],
    pub(crate) body: AnswerBody,
    /// The proxy would rather not serve another request over this connection.
    pub(crate) close: bool,
}

/// An endpoint's head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passed<'a> {
    pub(crate) head: &'a ResponseHead,
    pub(crate) bytes: &'a [u8],
    /// Every line ends as it should.
    pub(crate) clean: bool,
}

/// What follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerBody {
    /// Nothing, by the rules for the method or the status.
    None,
    /// As many bytes as `Content-Length` among the fields says.
    Sized,
    /// Nobody knows how many.
    Open,
}
