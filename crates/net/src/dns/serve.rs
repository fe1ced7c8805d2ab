//! UDP and TCP in, answers out.
//!
//! One task reads the UDP socket and answers for the cluster at once; only what must be asked elsewhere gets a task of
//! its own, and no more of those than [`OPEN_QUESTIONS`].

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name};
use skiff_base::task::{Policy, Tasks};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use crate::dns::forward::{Failure, Upstreams, read_framed, write_framed};
use crate::dns::zone::{Answer, Zone};

/// Questions waiting for other resolvers at any time; more are told to try later.
const OPEN_QUESTIONS: usize = 1000;
const OPEN_CONNECTIONS: usize = 200;
/// How long a client may keep a connection without asking.
const IDLE: Duration = Duration::from_secs(10);
/// What fits into a datagram if the client doesn't say.
const SMALL: u16 = 512;
/// The most we put into a datagram, whatever the client says: larger ones get lost in fragments.
const LARGE: u16 = 1232;
/// How far we follow names that lead to names.
const ALIASES: usize = 8;

/// Answers questions.
#[derive(Debug, Clone)]
pub(super) struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    zone: Arc<RwLock<Zone>>,
    upstreams: Upstreams,
    questions: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    tasks: Tasks,
}

/// What to do with a question.
enum Next {
    /// Done.
    Reply(Message),
    /// Hand it on as it is.
    Forward,
    /// The answer so far leads to a name elsewhere.
    Follow(Message, Name),
    /// Not even a question.
    Ignore,
}

impl Server {
    pub(super) fn new(zone: Arc<RwLock<Zone>>, upstreams: Upstreams, tasks: Tasks) -> Self {
        Self(Arc::new(Inner {
            zone,
            upstreams,
            questions: Arc::new(Semaphore::new(OPEN_QUESTIONS)),
            connections: Arc::new(Semaphore::new(OPEN_CONNECTIONS)),
            tasks,
        }))
    }

    /// Serves both sockets until the group stops.
    pub(super) fn run(self, udp: UdpSocket, tcp: TcpListener) {
        let tasks = self.0.tasks.clone();
        let (server, token) = (self.clone(), tasks.token().clone());
        tasks.spawn("dns-udp", Policy::Essential, async move {
            tokio::select! {
                () = token.cancelled() => Ok(()),
                result = server.datagrams(Arc::new(udp)) => result,
            }
        });
        tasks.clone().spawn_until_stop(async move { self.streams(tcp).await });
    }

    async fn datagrams(self, socket: Arc<UdpSocket>) -> std::io::Result<()> {
        let mut buffer = vec![0; 4096];
        loop {
            let (size, peer) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // The kernel reports a client that went away before our answer here; it concerns nobody else.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let bytes = &buffer[..size];
            let Ok(question) = Message::from_vec(bytes) else {
                if let Some(reply) = garbled(bytes) {
                    send(&socket, &reply, peer).await;
                }
                continue;
            };
            match self.decide(&question) {
                Next::Ignore => {}
                Next::Reply(reply) => send(&socket, &fitting(&question, &reply), peer).await,
                next => {
                    let Ok(seat) = Arc::clone(&self.0.questions).try_acquire_owned() else {
                        send(&socket, &refusal(&question, ResponseCode::ServFail), peer).await;
                        continue;
                    };
                    let (server, socket, bytes) = (self.clone(), Arc::clone(&socket), bytes.to_vec());
                    self.0.tasks.spawn_until_stop(async move {
                        let reply = server.elsewhere(&question, &bytes, next, false).await;
                        send(&socket, &reply, peer).await;
                        drop(seat);
                    });
                }
            }
        }
    }

    async fn streams(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors: others must close first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(seat) = Arc::clone(&self.0.connections).try_acquire_owned() else { continue };
            let server = self.clone();
            self.0.tasks.spawn_until_stop(async move {
                let _closed_by_the_client = server.stream(stream).await;
                drop(seat);
            });
        }
    }

    async fn stream(self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let Ok(bytes) = tokio::time::timeout(IDLE, read_framed(&mut stream)).await else { return Ok(()) };
            let bytes = bytes?;
            let Ok(question) = Message::from_vec(&bytes) else {
                if let Some(reply) = garbled(&bytes) {
                    write_framed(&mut stream, &reply).await?;
                }
                return Ok(());
            };
            let reply = match self.decide(&question) {
                Next::Ignore => return Ok(()),
                Next::Reply(reply) => encoded(&reply),
                next => self.elsewhere(&question, &bytes, next, true).await,
            };
            write_framed(&mut stream, &reply).await?;
        }
    }

    /// Answers from the zone if it can; pure but for the lock.
    fn decide(&self, question: &Message) -> Next {
        if question.metadata.message_type != MessageType::Query {
            return Next::Ignore;
        }
        if question.metadata.op_code != OpCode::Query {
            return Next::Reply(reply(question, ResponseCode::NotImp));
        }
        let [query] = question.queries.as_slice() else {
            return Next::Reply(reply(question, ResponseCode::FormErr));
        };
        if query.query_class != DNSClass::IN {
            return Next::Forward;
        }
        let zone = self.0.zone.read().unwrap_or_else(PoisonError::into_inner);
        let mut answer = reply(question, ResponseCode::NoError);
        answer.metadata.authoritative = true;
        let mut name = query.name.clone();
        for _ in 0..ALIASES {
            match zone.lookup(&name, query.query_type) {
                Answer::Records(answers, extra) => {
                    answer.add_answers(answers);
                    answer.add_additionals(extra);
                    return Next::Reply(answer);
                }
                Answer::Alias(record, target) => {
                    answer.add_answer(*record);
                    if query.query_type == hickory_proto::rr::RecordType::CNAME {
                        return Next::Reply(answer);
                    }
                    name = target;
                }
                Answer::NotOurs if answer.answers.is_empty() => return Next::Forward,
                Answer::NotOurs => return Next::Follow(answer, name),
                Answer::Empty => {
                    answer.add_authority(zone.authority());
                    return Next::Reply(answer);
                }
                Answer::NoName => {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                    answer.add_authority(zone.authority());
                    return Next::Reply(answer);
                }
            }
        }
        Next::Reply(reply(question, ResponseCode::ServFail))
    }

    /// Asks other resolvers.
    async fn elsewhere(&self, question: &Message, bytes: &[u8], next: Next, stream: bool) -> Vec<u8> {
        let asked = match next {
            Next::Follow(answer, name) => return self.follow(question, answer, name, stream).await,
            _ => self.0.upstreams.ask(bytes, stream).await,
        };
        match asked {
            Ok(answer) => answer,
            Err(Failure::Nobody) => refusal(question, ResponseCode::Refused),
            Err(Failure::Silence) => refusal(question, ResponseCode::ServFail),
        }
    }

    /// Completes an answer that leads out of the cluster: the pod's resolver wants addresses, not another errand.
    async fn follow(&self, question: &Message, mut answer: Message, name: Name, stream: bool) -> Vec<u8> {
        let mut errand = Message::query();
        errand.metadata.recursion_desired = true;
        let kind =
            question.queries.first().map_or(hickory_proto::rr::RecordType::A, |query| query.query_type);
        errand.add_query(Query::query(name, kind));
        if let Ok(bytes) = self.0.upstreams.ask(&encoded(&errand), stream).await
            && let Ok(more) = Message::from_vec(&bytes)
        {
            answer.metadata.response_code = more.metadata.response_code;
            answer.add_answers(more.answers);
            answer.add_authorities(more.authorities);
        }
        if stream { encoded(&answer) } else { fitting(question, &answer) }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.send_to(reply, peer).await {
        tracing::debug!(%peer, %error, "answer could not be sent");
    }
}

fn reply(question: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.metadata.recursion_desired = question.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_queries(question.queries.iter().cloned());
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGE);
        reply.set_edns(edns);
    }
    reply
}

fn refusal(question: &Message, code: ResponseCode) -> Vec<u8> {
    encoded(&reply(question, code))
}

/// A reply to something that has a number but is no proper question.
fn garbled(bytes: &[u8]) -> Option<Vec<u8>> {
    let answer_bit = 0x80;
    let [high, low, flags, ..] = bytes else { return None };
    if flags & answer_bit != 0 || bytes.len() < 12 {
        return None;
    }
    let id = u16::from_be_bytes([*high, *low]);
    Some(encoded(&Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)))
}

/// As much as fits a datagram; if not all does, the client is told to come by TCP.
fn fitting(question: &Message, reply: &Message) -> Vec<u8> {
    let most = question.edns.as_ref().map_or(SMALL, |edns| edns.max_payload().clamp(SMALL, LARGE));
    let whole = encoded(reply);
    if whole.len() <= usize::from(most) { whole } else { encoded(&reply.truncate()) }
}

fn encoded(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap_or_else(|error| {
        tracing::warn!(%error, "answer could not be encoded");
        Message::error_msg(message.metadata.id, OpCode::Query, ResponseCode::ServFail)
            .to_vec()
            .unwrap_or_default()
    })
}
